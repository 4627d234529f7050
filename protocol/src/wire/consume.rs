//! What travels in a consumer's session: deliveries, answers to them, and what became of those.
//!
//! A packet of deliveries is like one of items: the events stand in the payload as records, checked by their
//! checksums, and the head says of each what it is answered with. Answers name deliveries by their tokens, and a packet
//! of them by a number that its sender chose: so many packets may be under way, and are answered in any order.

use std::time::Duration;

use bytes::Bytes;
use rkyv::{Archive, Deserialize, Serialize};

use super::append::{AppendHead, AppendedHead, LARGEST_HEAD, append_of, parts_of};
use super::group::ms_of;
use super::items::{ItemsBuilder, decode_single_items};
use super::packet::{PacketKind, decode_head, encode_packet};
use super::parked::WhyHead;
use super::{AppendFailure, WireError};
use crate::append::{Append, Appended};
use crate::error::{AppendError, TooLarge};
use crate::group::{
    Answered, Delivery, DeliveryToken, ERROR_BYTES_MAX, Nack, NackAction, Refused, RefusedToken,
};
use crate::limits::{DELIVERIES_HEAD_BYTES_MAX, DELIVERIES_MAX, PACKET_HEAD_BYTES_MAX};
use crate::time::Timestamp;

type TokenHead = [u8; DeliveryToken::BYTES];

/// What stands in the archive besides tokens, and what a consumer says of them.
const REST_BYTES: usize = 4096;
/// Each may name as many deliveries as there may be, and say as much as is kept.
const _: () = assert!(DELIVERIES_MAX * 48 + REST_BYTES <= DELIVERIES_HEAD_BYTES_MAX);
const _: () = assert!(
    DELIVERIES_MAX * DeliveryToken::BYTES + ERROR_BYTES_MAX + REST_BYTES
        <= DELIVERIES_HEAD_BYTES_MAX
);
const _: () =
    assert!(LARGEST_HEAD + DELIVERIES_MAX * DeliveryToken::BYTES <= PACKET_HEAD_BYTES_MAX);

/// All of a delivery but its event.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct DeliveryHead {
    token: TokenHead,
    attempt: u32,
    lane: u32,
    deadline: i64,
}

/// Gathers deliveries for one packet.
#[derive(Debug, Default)]
pub struct DeliveriesBuilder {
    heads: Vec<DeliveryHead>,
    items: ItemsBuilder,
}

impl DeliveriesBuilder {
    /// How many were gathered.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether nothing was gathered.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Bytes of the events that were gathered.
    pub fn bytes(&self) -> usize {
        self.items.bytes()
    }

    /// One more.
    ///
    /// # Panics
    /// When there are [`DELIVERIES_MAX`] already.
    pub fn push(&mut self, delivery: &Delivery) {
        assert!(self.len() < DELIVERIES_MAX, "a packet of deliveries is bounded (I8)");
        self.heads.push(DeliveryHead {
            token: delivery.token.to_bytes(),
            attempt: delivery.attempt,
            lane: delivery.lane,
            deadline: delivery.deadline.as_micros(),
        });
        delivery.events().for_each(|event| self.items.event(event));
    }

    /// The packet, and nothing gathered any more.
    pub fn take(&mut self) -> Bytes {
        let packet = self.items.take_as(PacketKind::Deliveries, &self.heads);
        self.heads.clear();
        packet
    }
}

/// Reads the deliveries of a packet; every event's checksum is checked.
///
/// # Errors
/// When it is none: something else than one event, or all its parts, for each of them, more than [`DELIVERIES_MAX`], or a checksum that
/// does not hold.
pub fn decode_deliveries(head: &[u8], payload: &Bytes) -> Result<Vec<Delivery>, WireError> {
    let heads: Vec<DeliveryHead> = decode_head(head)?;
    bounded("deliveries", heads.len())?;
    let mut items = decode_single_items(payload)?.into_iter().map(|item| {
        item.event().ok_or_else(|| WireError::malformed("a delivery without an event"))
    });
    let mut deliveries = Vec::with_capacity(heads.len());
    for head in heads {
        let missing = || WireError::malformed("a delivery without an event");
        let event = items.next().ok_or_else(missing)??;
        let (mut has_more, mut parts) = (event.has_more_parts(), Vec::new());
        while has_more {
            let part = items.next().ok_or_else(missing)??;
            has_more = part.has_more_parts();
            parts.push(part);
        }
        deliveries.push(Delivery {
            token: DeliveryToken::from_bytes(head.token),
            attempt: head.attempt,
            lane: head.lane,
            deadline: Timestamp::from_micros(head.deadline),
            event,
            parts,
        });
    }
    match items.next() {
        None => Ok(deliveries),
        Some(_) => Err(WireError::malformed("an event without a delivery")),
    }
}

fn bounded(what: &str, count: usize) -> Result<(), WireError> {
    if count > DELIVERIES_MAX {
        let max = DELIVERIES_MAX;
        return Err(WireError::malformed(format!("{count} {what}: at most {max} are allowed")));
    }
    Ok(())
}

/// What a consumer says of deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// They are done.
    Ack,
    /// They are not.
    Nack(Nack),
    /// They are to be answered within this time from now, in whole milliseconds.
    Extend(Duration),
}

/// What a consumer says of some deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// What their answer will name, of the sender's choice.
    pub seq: u64,
    /// Which.
    pub tokens: Vec<DeliveryToken>,
    /// What of them.
    pub said: Said,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
enum ActionHead {
    Retry { delay_ms: Option<u64> },
    Park,
    Skip,
    Stop,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
enum SaidHead {
    Ack,
    Nack { action: ActionHead, why: WhyHead },
    Extend { by_ms: u64 },
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct AnswersHead {
    seq: u64,
    said: SaidHead,
    tokens: Vec<TokenHead>,
}

impl From<&Said> for SaidHead {
    fn from(said: &Said) -> Self {
        match said {
            Said::Ack => Self::Ack,
            Said::Nack(nack) => Self::Nack {
                action: match nack.action {
                    NackAction::Retry(delay) => ActionHead::Retry { delay_ms: delay.map(ms_of) },
                    NackAction::Park => ActionHead::Park,
                    NackAction::Skip => ActionHead::Skip,
                    NackAction::Stop => ActionHead::Stop,
                },
                why: (&nack.failure.clone().bounded()).into(),
            },
            Said::Extend(by) => Self::Extend { by_ms: ms_of(*by) },
        }
    }
}

impl From<SaidHead> for Said {
    fn from(head: SaidHead) -> Self {
        match head {
            SaidHead::Ack => Self::Ack,
            SaidHead::Nack { action, why } => Self::Nack(Nack {
                action: match action {
                    ActionHead::Retry { delay_ms } => {
                        NackAction::Retry(delay_ms.map(Duration::from_millis))
                    }
                    ActionHead::Park => NackAction::Park,
                    ActionHead::Skip => NackAction::Skip,
                    ActionHead::Stop => NackAction::Stop,
                },
                failure: crate::group::Failure::from(why).bounded(),
            }),
            SaidHead::Extend { by_ms } => Self::Extend(Duration::from_millis(by_ms)),
        }
    }
}

fn token_heads(tokens: &[DeliveryToken]) -> Result<Vec<TokenHead>, AppendError> {
    let (size, max) = (tokens.len(), DELIVERIES_MAX);
    if size > max {
        let what = "deliveries that are answered together".into();
        return Err(AppendError::TooLarge(TooLarge { what, size, max }));
    }
    Ok(tokens.iter().map(|token| token.to_bytes()).collect())
}

fn tokens_of(heads: Vec<TokenHead>) -> Result<Vec<DeliveryToken>, WireError> {
    bounded("deliveries answered together", heads.len())?;
    Ok(heads.into_iter().map(DeliveryToken::from_bytes).collect())
}

/// Encodes what a consumer says of deliveries. Of an error it says what is kept of one.
///
/// # Errors
/// `TooLarge`: of more than [`DELIVERIES_MAX`].
pub fn encode_answers(
    seq: u64,
    tokens: &[DeliveryToken],
    said: &Said,
) -> Result<Bytes, AppendError> {
    let head = AnswersHead { seq, said: said.into(), tokens: token_heads(tokens)? };
    Ok(encode_packet(PacketKind::Answers, &head, &[]))
}

/// Reads what a consumer says of deliveries.
///
/// # Errors
/// When it is none, or of more than [`DELIVERIES_MAX`].
pub fn decode_answers(head: &[u8]) -> Result<Answers, WireError> {
    let AnswersHead { seq, said, tokens } = decode_head(head)?;
    Ok(Answers { seq, tokens: tokens_of(tokens)?, said: said.into() })
}

/// Deliveries are done, together with an append: both, or neither.
#[derive(Clone, Debug, PartialEq)]
pub struct AckWith {
    /// See [`Answers::seq`].
    pub seq: u64,
    /// Which deliveries.
    pub tokens: Vec<DeliveryToken>,
    /// What is appended with that.
    pub append: Append,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct AckWithHead {
    seq: u64,
    tokens: Vec<TokenHead>,
    append: AppendHead,
}

/// Encodes that deliveries are done, together with an append; see [`encode_append`](super::encode_append).
///
/// # Errors
/// As [`AppendError`] says: whatever can be said without a server.
pub fn encode_ack_with(
    seq: u64,
    tokens: &[DeliveryToken],
    append: &Append,
) -> Result<Bytes, AppendError> {
    let tokens = token_heads(tokens)?;
    let (append, records) = parts_of(append)?;
    Ok(encode_packet(PacketKind::AckWith, &AckWithHead { seq, tokens, append }, &records))
}

/// Reads that deliveries are done, together with an append.
///
/// # Errors
/// When it is none; see [`decode_append`](super::decode_append).
pub fn decode_ack_with(head: &[u8], payload: &Bytes) -> Result<AckWith, WireError> {
    let AckWithHead { seq, tokens, append } = decode_head(head)?;
    Ok(AckWith { seq, tokens: tokens_of(tokens)?, append: append_of(append, payload)? })
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
enum RefusedHead {
    Unknown,
    Expired,
    OtherOwner,
    AlreadyAcked,
}

impl From<Refused> for RefusedHead {
    fn from(why: Refused) -> Self {
        match why {
            Refused::Unknown => Self::Unknown,
            Refused::Expired => Self::Expired,
            Refused::OtherOwner => Self::OtherOwner,
            Refused::AlreadyAcked => Self::AlreadyAcked,
        }
    }
}

impl From<RefusedHead> for Refused {
    fn from(head: RefusedHead) -> Self {
        match head {
            RefusedHead::Unknown => Self::Unknown,
            RefusedHead::Expired => Self::Expired,
            RefusedHead::OtherOwner => Self::OtherOwner,
            RefusedHead::AlreadyAcked => Self::AlreadyAcked,
        }
    }
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
enum OutcomeHead {
    Done { done: u64, refused: Vec<(TokenHead, RefusedHead)>, appended: Option<AppendedHead> },
    Failed(AppendFailure),
}

/// What became of one packet of answers. A packet of the kind `Answered` has a list of them.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct AnsweredHead {
    seq: u64,
    outcome: OutcomeHead,
}

/// What became of answers, and of the append that came with them.
type Outcome = Result<(Answered, Option<Appended>), AppendError>;

impl AnsweredHead {
    /// Of the answers with this number.
    pub fn new(seq: u64, outcome: &Outcome) -> Self {
        let refused = |it: &RefusedToken| (it.token.to_bytes(), it.why.into());
        let outcome = match outcome {
            Ok((answered, appended)) => OutcomeHead::Done {
                done: answered.done,
                refused: answered.refused.iter().map(refused).collect(),
                appended: appended.as_ref().map(AppendedHead::from),
            },
            Err(error) => OutcomeHead::Failed(error.into()),
        };
        Self { seq, outcome }
    }
}

/// Reads what became of answers, each with its number.
///
/// # Errors
/// When it is none, or refuses more deliveries than were ever answered together.
pub fn decode_answered(head: &[u8]) -> Result<Vec<(u64, Outcome)>, WireError> {
    let heads: Vec<AnsweredHead> = decode_head(head)?;
    let outcome = |head: AnsweredHead| {
        let outcome = match head.outcome {
            OutcomeHead::Done { done, refused, appended } => {
                bounded("deliveries refused together", refused.len())?;
                let refused = refused.into_iter().map(|(token, why)| RefusedToken {
                    token: DeliveryToken::from_bytes(token),
                    why: why.into(),
                });
                let answered = Answered { done, refused: refused.collect() };
                Ok((answered, appended.map(Appended::try_from).transpose()?))
            }
            OutcomeHead::Failed(failure) => Err(failure.into()),
        };
        Ok((head.seq, outcome))
    };
    heads.into_iter().map(outcome).collect()
}
