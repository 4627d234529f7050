//! What is asked of groups in a few words.

use bytes::Bytes;
use nexus_node::Access;
use nexus_protocol::group::{GroupConfig, ParkedList};
use nexus_protocol::limits::PACKET_HEAD_BYTES_MAX;
use nexus_protocol::wire::{
    Answer, GroupAsk, GroupLagHead, GroupLanesHead, PacketKind, WireError, try_encode_packet,
};
use nexus_protocol::{AppendError, Invalid, Position, TooLarge};

fn not_right(why: &WireError) -> AppendError {
    Invalid::Request(why.to_string()).into()
}

/// Answers one question about a group. Blocks on the disk. What no handler is asked, since it cannot be right,
/// `not_one` is told.
///
/// # Errors
/// As the handlers say; `TooLarge` of an answer that fits no packet.
pub(super) fn answer(
    access: &Access,
    group: &str,
    ask: GroupAsk,
    payload: &Bytes,
    not_one: impl Fn(&AppendError),
) -> Result<Bytes, AppendError> {
    let invalid = |why: WireError| {
        let error = not_right(&why);
        not_one(&error);
        error
    };
    let answer = match ask {
        GroupAsk::Set(config) => {
            let config = GroupConfig::try_from(config).map_err(invalid)?;
            Answer::GroupSet { made: access.set_group(group, &config)? }
        }
        GroupAsk::Names => Answer::Groups(access.groups()?),
        GroupAsk::Info => Answer::Group(Box::new((&access.group(group)?).into())),
        GroupAsk::Lanes => {
            let (info, lanes) = access.group_lanes(group)?;
            Answer::GroupLanes(Box::new(GroupLanesHead::new(&info, &lanes)))
        }
        GroupAsk::LanesAndLag => {
            let (info, lanes) = access.group_lanes(group)?;
            Answer::GroupLag(Box::new(GroupLagHead::new(&info, &lanes)))
        }
        GroupAsk::Delete => access.delete_group(group).map(|()| Answer::Done)?,
        GroupAsk::Pause { reason } => access.pause_group(group, &reason).map(|()| Answer::Done)?,
        GroupAsk::Resume => access.resume_group(group).map(|()| Answer::Done)?,
        GroupAsk::Seek(to) => Answer::Position(access.seek_group(group, to.into())?.get()),
        GroupAsk::Parked(list) => Answer::Parked((&access.parked(group, &list.into())?).into()),
        GroupAsk::ParkedOfKey { key, list } => {
            let list = ParkedList { key: Some(key), ..list.into() };
            Answer::Parked((&access.parked(group, &list)?).into())
        }
        GroupAsk::Replay { pick, rate_per_s } => {
            let pick = pick.try_into().map_err(invalid)?;
            Answer::Count(access.replay_parked(group, pick, rate_per_s)?)
        }
        GroupAsk::Skip(pick) => {
            Answer::Count(access.skip_parked(group, pick.try_into().map_err(invalid)?)?)
        }
        GroupAsk::Edit { position } => {
            let position = Position::new(position);
            Answer::Position(access.edit_parked(group, position, payload.clone())?.get())
        }
        GroupAsk::Leave { consumer } => {
            let leaving = access.leave(group, &consumer, false);
            tokio::runtime::Handle::current().block_on(leaving).map(|()| Answer::Done)?
        }
    };
    try_encode_packet(PacketKind::Answer, &answer, &[]).map_err(|why| {
        let error = match why {
            WireError::TooLarge { bytes, .. } => AppendError::TooLarge(TooLarge {
                what: "an answer about a group, in bytes".into(),
                size: bytes,
                max: PACKET_HEAD_BYTES_MAX,
            }),
            why => not_right(&why),
        };
        not_one(&error);
        error
    })
}
