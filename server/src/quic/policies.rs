//! What is asked of policies.

use bytes::Bytes;
use nexus_node::Access;
use nexus_protocol::limits::PACKET_HEAD_BYTES_MAX;
use nexus_protocol::wire::{Answer, PacketKind, PolicyAsk, try_encode_packet};
use nexus_protocol::{AppendError, Revision, TooLarge};

/// Answers one question about policies. Blocks on the disk. What does not fit into an answer, `not_one` is told.
///
/// # Errors
/// As the handlers say; `TooLarge` of an answer that fits no packet.
pub(super) fn answer(
    access: &Access,
    ask: PolicyAsk,
    not_one: impl Fn(&AppendError),
) -> Result<Bytes, AppendError> {
    let answer = match ask {
        PolicyAsk::Show => Answer::Policies(Box::new((&access.policies()?).into())),
        PolicyAsk::Activate { files, shadow } => {
            access.may_change_policies()?;
            let revision = access.activate_policies(files.into_iter().collect(), shadow)?;
            Answer::PoliciesChanged { revision: revision.get() }
        }
        PolicyAsk::Rollback { to } => {
            let revision = access.rollback_policies(to.map(Revision::new))?;
            Answer::PoliciesChanged { revision: revision.get() }
        }
    };
    try_encode_packet(PacketKind::Answer, &answer, &[]).map_err(|_| {
        let error = AppendError::TooLarge(TooLarge {
            what: "an answer about policies, in bytes".into(),
            size: PACKET_HEAD_BYTES_MAX + 1,
            max: PACKET_HEAD_BYTES_MAX,
        });
        not_one(&error);
        error
    })
}
