//! A consumer that is killed: each delivery is done together with an event that says so, or not at all.

use std::time::Duration;

use nexus_client::Consumer;
use nexus_protocol::group::{Delivery, Refused};
use nexus_protocol::{Append, AppendError, EventData};

use crate::exit::Failure;
use crate::store::Remote;

/// Deliveries that are done together.
const BATCH: usize = 20;
/// How long one request for deliveries waits.
const WAIT: Duration = Duration::from_secs(1);

/// Consumes without an end. For a delivery of `KEY` there is an event of `done-KEY` with the same data.
///
/// # Errors
/// When the group is gone, or the store refuses what has to be right.
pub(super) fn run(remote: &Remote, group: &str, name: &str) -> Result<(), Failure> {
    let ahead = u32::try_from(2 * BATCH).unwrap_or(1);
    let consumer = remote.client.consumer(group, name).prefetch(ahead);
    loop {
        let taken = remote.wait(consumer.receive(BATCH, WAIT))?;
        if !taken.is_empty() && !done(remote, &consumer, &taken)? && taken.len() > 1 {
            // One that has ended keeps the others back: each for itself, and those behind it in its stream are left.
            for delivery in &taken {
                done(remote, &consumer, std::slice::from_ref(delivery))?;
            }
        }
    }
}

/// Does all of these, or none; `false`: none, since one of them has ended.
fn done(remote: &Remote, consumer: &Consumer, taken: &[Delivery]) -> Result<bool, Failure> {
    let tokens: Vec<_> = taken.iter().map(|delivery| delivery.token).collect();
    let append = taken.iter().fold(Append::new(), |append, delivery| {
        let event = &delivery.event;
        let result = EventData::new("Done", event.content_type(), event.data_bytes());
        append.stream(format!("done-{}", event.stream())).event(result)
    });
    match remote.wait(consumer.ack_with(&tokens, append)) {
        Ok((_, Some(_))) => Ok(true),
        Ok((answered, None)) => {
            let refused = answered.refused.iter().map(|it| it.why);
            Ok(refused.clone().count() > 0 && refused.clone().all(|it| it == Refused::AlreadyAcked))
        }
        // It may be done; where it is not it comes again.
        Err(AppendError::Unknown | AppendError::Unavailable(_)) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
