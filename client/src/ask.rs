//! Questions with one short answer.

use bytes::Bytes;
pub(crate) use nexus_protocol::wire::Packet;
use nexus_protocol::wire::{Answer, Failure, Operation, PacketKind};
use nexus_protocol::{AppendError, ReadError, Unavailable};
use quinn::SendStream;

use crate::connection::{Deadline, Seat};
use crate::packets::{Broken, PacketReader};
use crate::retry::Backoff;

/// Opens a stream with its first packet, or does not get one until then: a connection has only so many,
/// and those of subscriptions may never come free.
pub(crate) async fn open_stream(
    connection: &quinn::Connection,
    packet: Bytes,
    until: Deadline,
) -> Result<(SendStream, PacketReader), Broken> {
    let opening = async {
        let (mut send, recv) = connection.open_bi().await?;
        send.write_chunk(packet).await?;
        Ok((send, PacketReader::new(recv)))
    };
    until.limit(opening).await.unwrap_or(Err(Broken::NoStream))
}

/// Asks a question that may be asked twice; tries again until the client's time is up.
pub(crate) async fn ask(seat: Seat, operation: Operation) -> Result<Packet, ReadError> {
    let until = Deadline::after(seat.timeout());
    let mut backoff = Backoff::default();
    loop {
        let packet = seat.open(operation.clone(), &[], true, backoff.attempt())?;
        let reason = match until.limit(once(&seat, operation.since(), packet, until)).await {
            Some(Ok(packet)) => match failure_of(packet)? {
                Ok(packet) => return Ok(packet),
                Err(Failure::Read(failure)) => match ReadError::from(failure) {
                    ReadError::Closed => ReadError::Closed,
                    error => return Err(error),
                },
                Err(_) => return Err(protocol("the failure of an append")),
            },
            Some(Err(Once::Reach(error))) if error.may_pass() => error.for_read(),
            Some(Err(Once::Reach(error))) => return Err(error.for_read()),
            Some(Err(Once::Broken(broken))) => lost(&broken),
            None => return Err(too_slow(&seat)),
        };
        if until.is_over() {
            return Err(reason);
        }
        backoff.wait().await;
    }
}

/// The same of what fails as an append does.
pub(crate) async fn ask_again(seat: Seat, operation: Operation) -> Result<Packet, AppendError> {
    let until = Deadline::after(seat.timeout());
    let mut backoff = Backoff::default();
    loop {
        let packet = seat.open(operation.clone(), &[], true, backoff.attempt())?;
        let reason = match until.limit(once(&seat, operation.since(), packet, until)).await {
            Some(Ok(packet)) => match failure_of(packet).map_err(unread)? {
                Ok(packet) => return Ok(packet),
                Err(Failure::Append(failure)) => match AppendError::from(failure) {
                    AppendError::Unavailable(Unavailable::Closed) => ReadError::Closed,
                    error => return Err(error),
                },
                Err(Failure::Read(failure)) => match ReadError::from(failure) {
                    ReadError::Closed => ReadError::Closed,
                    error => return Err(of_read(error)),
                },
                Err(Failure::Version { .. }) => return Err(AppendError::Unknown),
            },
            Some(Err(Once::Reach(error))) if error.may_pass() => error.for_read(),
            Some(Err(Once::Reach(error))) => return Err(error.for_append()),
            Some(Err(Once::Broken(broken))) => lost(&broken),
            None => return Err(unread(too_slow(&seat))),
        };
        if until.is_over() {
            return Err(unread(reason));
        }
        backoff.wait().await;
    }
}

/// What it means for a question that fails as an append does that there is no answer.
pub(crate) fn unread(error: ReadError) -> AppendError {
    AppendError::Unavailable(match error {
        ReadError::Closed => Unavailable::Closed,
        error => Unavailable::NotReachable(error.to_string()),
    })
}

/// Asks for a change, which is not asked for twice once it may have reached the server.
pub(crate) async fn change(
    seat: Seat,
    operation: Operation,
    payload: Bytes,
) -> Result<Packet, AppendError> {
    let until = Deadline::after(seat.timeout());
    let mut backoff = Backoff::default();
    loop {
        let packet = seat.open(operation.clone(), &payload, true, backoff.attempt())?;
        match until.limit(once(&seat, operation.since(), packet, until)).await {
            Some(Ok(packet)) => {
                return match failure_of(packet).map_err(|_| AppendError::Unknown)? {
                    Ok(packet) => Ok(packet),
                    Err(Failure::Append(failure)) => Err(failure.into()),
                    Err(Failure::Read(failure)) => Err(of_read(failure.into())),
                    Err(Failure::Version { .. }) => Err(AppendError::Unknown),
                };
            }
            Some(Err(Once::Reach(error))) if error.may_pass() && !until.is_over() => {
                backoff.wait().await;
            }
            Some(Err(Once::Reach(error))) => return Err(error.for_append()),
            Some(Err(Once::Broken(_))) | None => return Err(AppendError::Unknown),
        }
    }
}

enum Once {
    /// The server has not got it.
    Reach(crate::error::ConnectError),
    /// It may have.
    Broken(Broken),
}

async fn once(seat: &Seat, since: u16, packet: Bytes, until: Deadline) -> Result<Packet, Once> {
    let connection = seat.connection_since(since).await.map_err(Once::Reach)?;
    let opened = open_stream(&connection, packet, until).await;
    let (mut send, mut reader) = opened.map_err(Once::Broken)?;
    let _ = send.finish();
    reader.next().await.map_err(Once::Broken)
}

/// Tells an answer from the failure that came in its place.
pub(crate) fn failure_of(packet: Packet) -> Result<Result<Packet, Failure>, ReadError> {
    if packet.kind != PacketKind::Failure {
        return Ok(Ok(packet));
    }
    let failure = packet.message::<Failure>();
    failure.map(Err).map_err(|why| protocol(&why.to_string()))
}

/// What a refusal to look means for a change.
pub(crate) fn of_read(error: ReadError) -> AppendError {
    match error {
        ReadError::Invalid(invalid) => AppendError::Invalid(invalid),
        ReadError::Unauthenticated { reason } => AppendError::Unauthenticated { reason },
        ReadError::Denied { reason, denial } => AppendError::Denied { reason, denial },
        ReadError::NotFound { what } => AppendError::NotFound { what },
        _ => AppendError::Unknown,
    }
}

/// The answer in a packet.
pub(crate) fn answer_of(packet: &Packet) -> Result<Answer, ReadError> {
    if packet.kind != PacketKind::Answer {
        return Err(protocol("a packet that is no answer"));
    }
    packet.message().map_err(|why| protocol(&why.to_string()))
}

/// The server does not keep to the protocol.
pub(crate) fn protocol(what: &str) -> ReadError {
    let reason = format!("it does not keep to the protocol: it sent {what}");
    ReadError::Unavailable { reason }
}

pub(crate) fn lost(broken: &Broken) -> ReadError {
    ReadError::Unavailable { reason: broken.to_string() }
}

fn too_slow(seat: &Seat) -> ReadError {
    let ms = seat.timeout().as_millis();
    ReadError::Unavailable { reason: format!("no answer within {ms} ms") }
}
