//! What is asked of projections.

use bytes::Bytes;
use nexus_node::Access;
use nexus_protocol::group::ParkedList;
use nexus_protocol::limits::PACKET_HEAD_BYTES_MAX;
use nexus_protocol::wire::{
    Answer, DocumentHead, LookupHead, PacketKind, ProjectionAsk, WireError, definition_of,
    search_of, try_encode_packet,
};
use nexus_protocol::{AppendError, Invalid, Position, ReadError, TooLarge};

fn not_right(why: &WireError) -> Invalid {
    Invalid::Request(why.to_string())
}

/// Answers one question about a projection, but for a lookup, which fails as a read does. Blocks on the disk. What no handler
/// is asked, since it cannot be right, `not_one` is told.
///
/// # Errors
/// As the handlers say; `TooLarge` of an answer that fits no packet.
pub(super) fn answer(
    access: &Access,
    name: &str,
    ask: ProjectionAsk,
    payload: &Bytes,
    not_one: impl Fn(&AppendError),
) -> Result<Bytes, AppendError> {
    let invalid = |why: WireError| {
        let error = not_right(&why).into();
        not_one(&error);
        error
    };
    let answer = match ask {
        ProjectionAsk::Set { definition } => {
            access.may_manage_projections()?;
            let definition = definition_of(&definition).inspect_err(&not_one)?;
            Answer::ProjectionSet { made: access.set_projection(name, &definition)? }
        }
        ProjectionAsk::Names => Answer::Projections(access.projections()?),
        ProjectionAsk::Info => Answer::Projection(Box::new((&access.projection(name)?).into())),
        ProjectionAsk::Change(change) => {
            access.change_projection(name, change.into()).map(|()| Answer::Done)?
        }
        ProjectionAsk::Parked { key, list } => {
            let list = ParkedList { key, ..list.into() };
            Answer::Parked((&access.parked_of_projection(name, &list)?).into())
        }
        ProjectionAsk::Replay(pick) => {
            let pick = pick.try_into().map_err(invalid)?;
            Answer::Count(access.replay_parked_of_projection(name, pick)?)
        }
        ProjectionAsk::Skip(pick) => {
            let pick = pick.try_into().map_err(invalid)?;
            Answer::Count(access.skip_parked_of_projection(name, pick)?)
        }
        ProjectionAsk::Edit { position } => {
            let position = Position::new(position);
            let data = payload.clone();
            Answer::Position(access.edit_parked_of_projection(name, position, data)?.get())
        }
        ProjectionAsk::Lookup(_) | ProjectionAsk::Search { .. } => {
            unreachable!("the caller has chosen")
        }
    };
    try_encode_packet(PacketKind::Answer, &answer, &[]).map_err(|why| {
        let error = match why {
            WireError::TooLarge { bytes, .. } => AppendError::TooLarge(TooLarge {
                what: "an answer about a projection, in bytes".into(),
                size: bytes,
                max: PACKET_HEAD_BYTES_MAX,
            }),
            why => not_right(&why).into(),
        };
        not_one(&error);
        error
    })
}

/// Looks a document up. Blocks until the projection has come as far as was asked for.
///
/// # Errors
/// As the handler says.
pub(super) fn look_up(access: &Access, name: &str, lookup: LookupHead) -> Result<Bytes, ReadError> {
    let found = access.lookup(name, &lookup.into())?;
    let answer = Answer::Document(Box::new((&found).into()));
    // A document has a bound that is far from that of a payload.
    let packet = try_encode_packet(PacketKind::Answer, &answer, &DocumentHead::payload_of(&found));
    packet.map_err(|why| not_right(&why).into())
}

/// Searches. Blocks until the projection has come as far as was asked for.
///
/// # Errors
/// As the handler says; `Invalid` of an answer that fits no packet.
pub(super) fn search(access: &Access, name: &str, request: &str) -> Result<Bytes, ReadError> {
    let found = access.search(name, &search_of(request)?)?;
    let payload = serde_json::to_vec(&found).expect("an answer has a JSON form");
    let packet = try_encode_packet(PacketKind::Answer, &Answer::Found, &payload);
    packet.map_err(|why| match why {
        WireError::TooLarge { bytes, .. } => Invalid::Request(format!(
            "the answer has {bytes} bytes: ask for fewer documents, or for some of their fields"
        ))
        .into(),
        why => not_right(&why).into(),
    })
}
