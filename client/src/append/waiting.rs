//! Appends that wait for their answers: which of them are sent, and what is said to whom.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use nexus_protocol::wire::PROTOCOL_NOT_BEFORE;
use nexus_protocol::{AppendError, Invalid};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};

use super::Answer;
use crate::connection::Deadline;

/// An append on its way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) packet: Bytes,
    pub(super) answer: Option<oneshot::Sender<Answer>>,
    pub(super) until: Deadline,
    /// The first version of the protocol whose servers keep all that it says.
    pub(super) since: u16,
    /// Whether a server may have got it.
    pub(super) sent: bool,
    /// Whether one may have got it on an earlier connection: what a refusal says of this sending says
    /// nothing of that one.
    pub(super) sent_before: bool,
    pub(super) _place: OwnedSemaphorePermit,
}

impl Job {
    /// What it means for this append that the server does not take it: one that it may have taken before
    /// may be stored. Two answers say that it is not, since both are given where the server has looked for
    /// it; all others come before, as of a stream that was tombstoned meanwhile, or where it cannot look
    /// any more. Of a poisoned log all appends may be stored, and are sent again with the same ids. It looks
    /// for ids as far back as its window reaches, and nobody waits so long (`address::TIMEOUT_MS_MAX`).
    pub(super) fn refused(&self, error: &AppendError) -> AppendError {
        let says_all = match error {
            AppendError::Conflict(_)
            | AppendError::IdReused { .. }
            | AppendError::Poisoned { .. } => true,
            _ => !self.sent_before,
        };
        if says_all { error.clone() } else { AppendError::Unknown }
    }

    /// Whether a server that speaks this version would drop a part of what it says: then it is not sent, and its
    /// caller is told.
    pub(super) fn is_beyond(&mut self, version: u16) -> bool {
        if version >= self.since {
            return false;
        }
        if let Some(answer) = self.answer.take() {
            let error = if self.sent { AppendError::Unknown } else { too_old(version) };
            let _ = answer.send(Err(error));
        }
        true
    }
}

fn too_old(version: u16) -> AppendError {
    let why = format!(
        "an event has `not_before`, and the server speaks version {version} of the protocol, in which it would be \
         delivered at once: update the server to one that speaks version {PROTOCOL_NOT_BEFORE}, or append the event \
         without it"
    );
    Invalid::Request(why).into()
}

/// What waits for its answer, in the order it was submitted.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    jobs: Mutex<VecDeque<Job>>,
    /// Told when the last of them is answered.
    pub(super) empty: Notify,
}

impl Waiting {
    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().expect("no panic while it is held")
    }

    pub(super) fn answer_all(&self, with: impl Fn(&Job) -> AppendError) {
        for mut job in self.lock().drain(..) {
            let error = with(&job);
            if let Some(answer) = job.answer.take() {
                let _ = answer.send(Err(error));
            }
        }
    }

    /// Takes in what was submitted and cannot be sent yet.
    pub(super) fn take_in(&self, jobs: &mut mpsc::UnboundedReceiver<Job>) {
        while let Ok(job) = jobs.try_recv() {
            self.lock().push_back(job);
        }
    }

    /// The packets of all that waits and that a server of this version takes whole; they count as sent from now on.
    pub(super) fn to_send(&self, version: u16) -> Vec<Bytes> {
        let mut waiting = self.lock();
        waiting.retain_mut(|job| !job.is_beyond(version));
        let marked = waiting.iter_mut().map(|job| {
            assert!(job.sent || job.answer.is_some(), "it is not sent once it was answered");
            job.sent_before = job.sent;
            job.sent = true;
            job.packet.clone()
        });
        marked.collect()
    }

    /// Tells those whose time is up. What a server may have got keeps its place: an answer may still come
    /// for it. All else is forgotten with that, or it would be stored though its caller was told that it
    /// is not.
    pub(super) fn tell_late(&self, unsent: &AppendError) {
        self.lock().retain_mut(|job| {
            if job.until.is_over()
                && let Some(answer) = job.answer.take()
            {
                let error = if job.sent { AppendError::Unknown } else { unsent.clone() };
                let _ = answer.send(Err(error));
            }
            job.sent || job.answer.is_some()
        });
    }
}
