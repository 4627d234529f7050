//! [`effect_id`]: ids of what is appended because of a delivery.

use uuid::{Uuid, uuid};

use crate::ids::EventId;

/// What the ids of effects are made in.
const EFFECT_NAMESPACE: Uuid = uuid!("5f0d3b52-8c1e-4d7a-9a36-2e7b40c6d913");

/// The id of event `ordinal` of what a group's consumer appends because of an event: UUIDv5 over group ‖ 0 ‖ event id ‖
/// ordinal as u64, little-endian. It is the same at every try, whoever makes it, so that an append that is already there
/// is recognised.
pub fn effect_id(group: &str, event: EventId, ordinal: u64) -> EventId {
    let mut name = Vec::with_capacity(group.len() + 25);
    name.extend_from_slice(group.as_bytes());
    name.push(0);
    name.extend_from_slice(event.as_bytes());
    name.extend_from_slice(&ordinal.to_le_bytes());
    EventId::from_uuid(Uuid::new_v5(&EFFECT_NAMESPACE, &name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_as_they_are_and_differ_by_all_they_are_made_of() {
        let (one, other) = (EventId::from_bytes([1; 16]), EventId::from_bytes([2; 16]));
        let id = effect_id("mail", one, 0);
        assert_eq!(id.to_string(), "5b7e5a20-0d94-53bc-b1e9-7d29b6560161");
        for differs in
            [effect_id("mails", one, 0), effect_id("mail", other, 0), effect_id("mail", one, 1)]
        {
            assert_ne!(id, differs);
        }
    }
}
