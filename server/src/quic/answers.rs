//! Everything that has one short answer.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nexus_node::telemetry::Coded;
use nexus_node::{Access, NoAccess, Node, Principal, Refusal, Role, TokenInfo, UnknownRole};
use nexus_protocol::limits::STREAMS_PAGE_MAX;
use nexus_protocol::timer::{TimerList, TimerState};
use nexus_protocol::wire::{
    Answer, Failure, GroupAsk, ItemsBuilder, Operation, PacketKind, PolicyAsk, ProjectionAsk,
    SchemaAsk, SnapshotHead, StreamHead, TokenHead, encode_packet,
};
use nexus_protocol::{
    AppendError, EventId, Invalid, Position, ReadError, Revision, Snapshot, StreamChange,
    StreamList, StreamName, SubscriptionItem,
};
use quinn::SendStream;

use super::session::{self, Accessed, Asked, Question, Request, Session};
use super::{event_routes, groups, policies, projections, schemas};

/// An answer that is longer is counted as memory of requests until it is sent.
const SHORT_BYTES_MAX: usize = 64 * 1024;

fn no_memory() -> ReadError {
    let reason = "all memory for answers is in use: ask again in a moment".to_owned();
    ReadError::Unavailable { reason }
}

/// Answers one question.
pub(crate) async fn run(session: &Session, access: Accessed, question: Question, request: Request) {
    let Request { asked, reader, send } = request;
    drop(reader);
    let telling = Telling { session: session.clone(), asked };
    let (node, principal) = (session.door.node.clone(), Arc::clone(&session.principal));
    let Question { namespace, operation, payload, memory } = question;
    // How long these are is known once they are there: few are made at a time.
    let is_long = may_have_events(&operation) || may_be_long(&operation);
    let waits = is_lookup(&operation);
    let answered = move || match operation {
        Operation::Namespaces => {
            node.namespaces(&principal).map(|names| plain(&Answer::Namespaces(names))).map_err(read)
        }
        Operation::CreateNamespace => {
            let created = node.create_namespace(&principal, &namespace);
            created.map(|()| plain(&Answer::Done)).map_err(append)
        }
        Operation::DeleteNamespace => {
            let deleted = node.delete_namespace(&principal, &namespace).map_err(append);
            deleted.map(|()| plain(&Answer::Done))
        }
        Operation::Tokens => {
            let tokens = node.list_tokens(&principal).map_err(read);
            tokens.map(|all| plain(&Answer::Tokens(all.iter().map(token_head).collect())))
        }
        Operation::CreateToken { name, role, ttl_ms } => {
            let role = role.parse().map_err(|why: UnknownRole| telling.invalid(&why));
            role.and_then(|role| create_token(&node, &principal, &name, role, ttl_ms))
                .map_err(append)
        }
        Operation::RevokeToken { id } => {
            node.revoke_token(&principal, &id).map(|()| plain(&Answer::Done)).map_err(append)
        }
        operation => of_namespace(&telling, access, operation, &payload),
    };
    let place = match is_long {
        true => Some(session.door.place_for_answer().await),
        false => None,
    };
    let waits = match waits {
        true => Some(session.door.place_to_wait().await),
        false => None,
    };
    // Most of it may wait for the disk. Its memory, and its thread, are held to its end, whoever still waits.
    let answered = tokio::task::spawn_blocking(move || {
        let answered = answered();
        drop((memory, waits));
        answered
    });
    let packet = match answered.await.expect("a handler does not panic") {
        Ok(packet) => packet,
        Err(failure) => failed(session, failure),
    };
    end_with(session, send, packet, place).await;
}

/// Answers what is asked of a namespace.
fn of_namespace(
    telling: &Telling,
    access: Accessed,
    operation: Operation,
    payload: &Bytes,
) -> Result<Bytes, Failure> {
    let tell = |error: &_| telling.tell(error);
    let there = |access: Accessed| access.map_err(|refused| telling.no_access(refused));
    let answered = match operation {
        Operation::Group { group, ask } => {
            there(access).and_then(|it| groups::answer(&it, &group, *ask, payload, tell))
        }
        Operation::Route { route, ask } => {
            there(access).and_then(|it| event_routes::answer(&it, &route, *ask, tell))
        }
        Operation::Schema { subject, ask } => {
            there(access).and_then(|it| schemas::answer(&it, &subject, *ask, tell))
        }
        Operation::Policy { ask } => there(access).and_then(|it| policies::answer(&it, *ask, tell)),
        Operation::Projection { projection, ask } => match *ask {
            ProjectionAsk::Lookup(lookup) => {
                let access = access.map_err(|refused| read(telling.no_access(refused)))?;
                return projections::look_up(&access, &projection, lookup).map_err(read);
            }
            ProjectionAsk::Search { request } => {
                let access = access.map_err(|refused| read(telling.no_access(refused)))?;
                return projections::search(&access, &projection, &request).map_err(read);
            }
            ask => there(access)
                .and_then(|it| projections::answer(&it, &projection, ask, payload, tell)),
        },
        Operation::Timers { failed, after, limit } => {
            there(access).and_then(|it| timer_ids(&it, failed, after, limit))
        }
        operation => return ask(telling, access, operation, payload),
    };
    answered.map_err(append)
}

/// Why there is no answer, as the client's version has words for it.
fn failed(session: &Session, failure: Failure) -> Bytes {
    let failure = match failure {
        Failure::Append(failure) => append(session.told_error(failure.into())),
        Failure::Read(failure) => read(session.told_read(failure.into())),
        failure => failure,
    };
    encode_packet(PacketKind::Failure, &failure, &[])
}

/// Sends an answer, whose memory is counted where it is long; in its place there is room for another once it is.
async fn end_with<P>(session: &Session, send: SendStream, mut packet: Bytes, place: Option<P>) {
    let mut counted = None;
    if packet.len() > SHORT_BYTES_MAX {
        counted = session.door.memory.take_in_time(packet.len()).await;
        if counted.is_none() {
            packet = encode_packet(PacketKind::Failure, &read(no_memory()), &[]);
        }
    }
    drop(place);
    session::end_with(send, packet).await;
    drop(counted);
}

fn timer_ids(
    access: &Access,
    failed: bool,
    after: Option<String>,
    limit: u32,
) -> Result<Bytes, AppendError> {
    let state = if failed { TimerState::Failed } else { TimerState::Armed };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (ids, more) = access.timer_ids(&TimerList { state, after, limit })?;
    Ok(plain(&Answer::Timers { ids, more }))
}

/// An event, or what a snapshot is of, may have some MiB.
fn may_have_events(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::LoadSnapshot { .. } | Operation::Event { .. } | Operation::EventsAt { .. }
    )
}

/// A document may have some MiB too; but whoever looks one up may wait for it.
fn is_lookup(operation: &Operation) -> bool {
    match operation {
        Operation::Projection { ask, .. } => {
            matches!(**ask, ProjectionAsk::Lookup(_) | ProjectionAsk::Search { .. })
        }
        _ => false,
    }
}

/// How a group is, what is parked, and a page of subjects may have some MiB.
fn may_be_long(operation: &Operation) -> bool {
    match operation {
        Operation::Group { ask, .. } => matches!(
            **ask,
            GroupAsk::Info
                | GroupAsk::Lanes
                | GroupAsk::LanesAndLag
                | GroupAsk::Parked(_)
                | GroupAsk::ParkedOfKey { .. }
        ),
        Operation::Schema { ask, .. } => matches!(**ask, SchemaAsk::Subjects { .. }),
        Operation::Policy { ask } => matches!(**ask, PolicyAsk::Show),
        Operation::Projection { ask, .. } => {
            matches!(**ask, ProjectionAsk::Info | ProjectionAsk::Parked { .. })
        }
        _ => false,
    }
}

/// What is logged of errors that are answered here.
struct Telling {
    session: Session,
    asked: Asked,
}

impl Telling {
    fn tell(&self, error: &AppendError) {
        self.session.log(&self.asked, error);
    }

    fn invalid(&self, why: &dyn Display) -> AppendError {
        let error = Invalid::Request(why.to_string()).into();
        self.tell(&error);
        error
    }

    fn no_access<E: Coded + From<Refusal>>(&self, refused: NoAccess) -> E {
        self.session.no_access(&self.asked, refused)
    }
}

fn create_token(
    node: &Node,
    principal: &Principal,
    name: &str,
    role: Role,
    ttl_ms: Option<u64>,
) -> Result<Bytes, AppendError> {
    let made = node.create_token(principal, name, role, ttl_ms.map(Duration::from_millis))?;
    let answer = Answer::Token(token_head(&made.info));
    Ok(encode_packet(PacketKind::Answer, &answer, made.token.as_bytes()))
}

fn token_head(info: &TokenInfo) -> TokenHead {
    TokenHead {
        id: info.id.clone(),
        name: info.name.clone(),
        role: info.role.to_string(),
        expires_at: info.expires_at.map(nexus_protocol::Timestamp::as_micros),
    }
}

fn plain(answer: &Answer) -> Bytes {
    encode_packet(PacketKind::Answer, answer, &[])
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn read(error: ReadError) -> Failure {
    Failure::Read((&error).into())
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn append(error: AppendError) -> Failure {
    Failure::Append((&error).into())
}

fn ask(
    telling: &Telling,
    access: Accessed,
    operation: Operation,
    payload: &Bytes,
) -> Result<Bytes, Failure> {
    let changes = matches!(
        operation,
        Operation::SetStream { .. } | Operation::DeleteStream { .. } | Operation::SaveSnapshot(_)
    );
    let access = match access {
        Ok(access) => access,
        Err(refused) if changes => return Err(append(telling.no_access(refused))),
        Err(refused) => return Err(read(telling.no_access(refused))),
    };
    if changes {
        change(telling, &access, operation, payload).map(|answer| plain(&answer)).map_err(append)
    } else {
        look(&access, operation).map_err(read)
    }
}

fn change(
    telling: &Telling,
    access: &Access,
    operation: Operation,
    payload: &Bytes,
) -> Result<Answer, AppendError> {
    match operation {
        Operation::SetStream { stream, max_count, max_age_s, truncate_before } => {
            let truncate_before = truncate_before.map(Revision::new);
            let change = StreamChange { max_count, max_age_s, truncate_before };
            access.set_stream(&stream, change).map(|info| Answer::Stream((&info).into()))
        }
        Operation::DeleteStream { stream, expected, tombstone } => {
            let done = if tombstone {
                access.tombstone_stream(&stream, expected.into())
            } else {
                access.delete_stream(&stream, expected.into())
            };
            done.map(|appended| Answer::Appended((&appended).into()))
        }
        Operation::SaveSnapshot(head) => {
            let saved = access.save_snapshot(Snapshot {
                stream: StreamName::new(&head.stream).map_err(|why| telling.invalid(&why))?,
                revision: Revision::new(head.revision),
                fold: head.fold(),
                content_type: head.content_type,
                state: payload.clone(),
            });
            saved.map(|appended| Answer::Appended((&appended).into()))
        }
        _ => unreachable!("the caller has chosen"),
    }
}

fn look(access: &Access, operation: Operation) -> Result<Bytes, ReadError> {
    let at = operation.snapshot_at();
    Ok(match operation {
        Operation::Event { id } => {
            let mut items = ItemsBuilder::default();
            if let Some(event) = access.event_by_id(EventId::from_bytes(id))? {
                items.event(&event);
            }
            items.take()
        }
        Operation::EventsAt { positions } => {
            let positions: Vec<_> = positions.into_iter().map(Position::new).collect();
            let at = access.events_at(&positions)?;
            let mut items = ItemsBuilder::default();
            at.events.iter().for_each(|event| items.event(event));
            if let Some(position) = at.looked_at {
                items.push(&SubscriptionItem::Checkpoint { position });
            }
            items.take()
        }
        Operation::Head => plain(&Answer::head(access.head()?)),
        Operation::Stream { stream } => {
            plain(&Answer::Stream((&access.stream_info(&stream)?).into()))
        }
        Operation::Streams { prefix, category, after, limit, deleted, system } => {
            let limit = (limit as usize).min(STREAMS_PAGE_MAX);
            let list = StreamList { prefix, category, after, limit, deleted, system };
            let streams = access.streams(&list)?;
            plain(&Answer::Streams(streams.iter().map(StreamHead::from).collect()))
        }
        Operation::LoadSnapshot { stream, fold_version, upcaster_hash, .. } => {
            let fold = nexus_protocol::FoldIdentity { fold_version, upcaster_hash };
            let at = at.expect("it is a request for a snapshot");
            match access.load_snapshot(&stream, at, fold)? {
                Some(snapshot) => with_state(&snapshot),
                None => plain(&Answer::Snapshot(None)),
            }
        }
        Operation::Snapshots { stream } => {
            let kept = access.list_snapshots(&stream)?;
            let kept = kept.iter().map(|info| SnapshotHead::of(&stream, info)).collect();
            plain(&Answer::Snapshots(kept))
        }
        Operation::Stats => plain(&Answer::Stats((&access.stats()?).into())),
        _ => unreachable!("the caller has chosen"),
    })
}

fn with_state(snapshot: &Snapshot) -> Bytes {
    encode_packet(PacketKind::Answer, &Answer::Snapshot(Some(snapshot.into())), &snapshot.state)
}
