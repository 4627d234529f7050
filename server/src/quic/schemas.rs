//! What is asked of schemas.

use bytes::Bytes;
use nexus_node::Access;
use nexus_node::telemetry::Operation;
use nexus_protocol::limits::{PACKET_HEAD_BYTES_MAX, SUBJECTS_PAGE_MAX};
use nexus_protocol::schema::{
    NewSchema, SchemaState, SchemaVersion, SettingsChange, SettingsOf, VersionPick,
};
use nexus_protocol::wire::{
    Answer, PacketKind, SchemaAsk, SubjectHead, WireError, try_encode_packet,
};
use nexus_protocol::{AppendError, Invalid, SchemaId, TooLarge};

/// Answers one question about schemas. Blocks on the disk. What no handler is asked, since it cannot be right, `not_one`
/// is told.
///
/// # Errors
/// As the handlers say; `TooLarge` of an answer that fits no packet.
pub(super) fn answer(
    access: &Access,
    subject: &str,
    ask: SchemaAsk,
    not_one: impl Fn(&AppendError),
) -> Result<Bytes, AppendError> {
    let invalid = |why: WireError| {
        let error = AppendError::from(Invalid::Request(why.to_string()));
        not_one(&error);
        error
    };
    may_change(access, &ask)?;
    let version = |version: SchemaVersion, made| Answer::Schema {
        version: Box::new((&version).into()),
        made,
    };
    let answer = match ask {
        SchemaAsk::Register(new) => {
            let new = NewSchema::try_from(new).map_err(invalid)?;
            let (registered, made) = access.register_schema(subject, &new)?;
            version(registered, made)
        }
        SchemaAsk::Check(new) => {
            let new = NewSchema::try_from(new).map_err(invalid)?;
            let found = access.check_schema(subject, &new)?;
            Answer::SchemaCheck(found.iter().map(Into::into).collect())
        }
        SchemaAsk::Subjects { after, limit } => {
            let limit = usize::try_from(limit).unwrap_or(SUBJECTS_PAGE_MAX);
            let page = access.subjects(after.as_deref(), limit)?;
            Answer::Subjects(page.iter().map(SubjectHead::from).collect())
        }
        SchemaAsk::Subject => Answer::Subject(Box::new((&access.subject(subject)?).into())),
        SchemaAsk::Version(number) => {
            let pick = number.map_or(VersionPick::Latest, VersionPick::Number);
            version(access.schema(subject, pick)?, false)
        }
        SchemaAsk::ById(id) => version(access.schema_by_id(SchemaId::new(id))?, false),
        SchemaAsk::SetState { version: number, state } => {
            let state = state.parse::<SchemaState>();
            let state = state.inspect_err(|why| not_one(&why.clone().into()))?;
            version(access.set_schema_state(subject, number, state)?, false)
        }
        SchemaAsk::SetSettings { change, global } => {
            let change = SettingsChange::try_from(change).map_err(invalid)?;
            let info = access.set_schema_settings(&settings_of(subject, global), &change)?;
            Answer::Subject(Box::new((&info).into()))
        }
        SchemaAsk::Settings { global } => {
            let info = access.schema_settings(&settings_of(subject, global))?;
            Answer::Subject(Box::new((&info).into()))
        }
    };
    try_encode_packet(PacketKind::Answer, &answer, &[]).map_err(|why| {
        let error = match why {
            WireError::TooLarge { bytes, .. } => AppendError::TooLarge(TooLarge {
                what: "an answer about schemas, in bytes".into(),
                size: bytes,
                max: PACKET_HEAD_BYTES_MAX,
            }),
            why => Invalid::Request(why.to_string()).into(),
        };
        not_one(&error);
        error
    })
}

/// Asked before anything of a change is looked at.
fn may_change(access: &Access, ask: &SchemaAsk) -> Result<(), AppendError> {
    match ask {
        SchemaAsk::Register(_) => access.may_manage_schemas(Operation::RegisterSchema),
        SchemaAsk::SetState { .. } => access.may_manage_schemas(Operation::SetSchemaState),
        SchemaAsk::SetSettings { .. } => access.may_manage_schemas(Operation::SetSchemaSettings),
        _ => Ok(()),
    }
}

fn settings_of(subject: &str, global: bool) -> SettingsOf {
    match subject {
        _ if global => SettingsOf::Global,
        "" => SettingsOf::Namespace,
        subject => SettingsOf::Subject(subject.to_owned()),
    }
}
