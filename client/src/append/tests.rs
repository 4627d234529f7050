//! What appends that wait are told, and which of them are sent.

use nexus_protocol::{Clause, Conflict, Position};

use super::*;

/// An append that has so much time.
fn job(time: std::time::Duration, answer: Option<oneshot::Sender<Answer>>) -> Job {
    let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let (packet, until) = (Bytes::new(), Deadline::after(time));
    Job { packet, answer, until, since: 1, sent: false, sent_before: false, _place: place }
}

/// What is answered to an append that was sent on an earlier connection too, or was not.
fn told(sent_before: bool, error: &AppendError) -> AppendError {
    let job = job(std::time::Duration::from_secs(1), None);
    Job { sent: true, sent_before, ..job }.refused(error)
}

#[test]
fn only_what_may_be_stored_waits_on_once_it_was_answered() {
    let late = not_reachable(&"nobody is there");
    for (time_s, sent, told, stays) in [
        (0, false, Some(&late), false),
        (0, true, Some(&AppendError::Unknown), true),
        (60, false, None, true),
        (60, true, None, true),
    ] {
        let (answer, mut answered) = oneshot::channel();
        let job = job(std::time::Duration::from_secs(time_s), Some(answer));
        let waiting = Waiting::default();
        waiting.lock().push_back(Job { sent, ..job });
        waiting.tell_late(&late);
        assert_eq!(answered.try_recv().ok(), told.cloned().map(Err), "{time_s} {sent}");
        assert_eq!(!waiting.lock().is_empty(), stays, "{time_s} {sent}");
    }
}

#[test]
fn what_was_sent_twice_is_refused_by_those_who_have_looked_for_it() {
    let what = || "w".to_owned();
    let conflict = Conflict { clause: Clause::Boundary, positions: Vec::new() };
    for (error, is_certain) in [
        (AppendError::Conflict(Box::new(conflict)), true),
        (
            AppendError::IdReused { id: EventId::from_bytes([1; 16]), position: Position::ZERO },
            true,
        ),
        (AppendError::Poisoned { at: None }, true),
        (AppendError::Deleted { stream: what() }, false),
        (AppendError::BelowRetention { what: what() }, false),
        (AppendError::NotFound { what: what() }, false),
        (AppendError::Denied { reason: what(), denial: None }, false),
        (closed(), false),
    ] {
        assert_eq!(told(false, &error), error, "it says what happened the first time");
        let expected = if is_certain { error.clone() } else { AppendError::Unknown };
        assert_eq!(told(true, &error), expected, "{error}");
    }
}

#[test]
fn what_an_older_server_would_deliver_at_once_is_not_sent_to_it() {
    for (version, since, sent, goes) in [
        (3, 3, false, true),
        (3, 3, true, true),
        (1, 1, true, true),
        (2, 3, false, false),
        (2, 3, true, false),
    ] {
        let (answer, mut answered) = oneshot::channel();
        let job = job(std::time::Duration::from_secs(60), Some(answer));
        let waiting = Waiting::default();
        waiting.lock().push_back(Job { since, sent, ..job });
        assert_eq!(waiting.to_send(version).len(), usize::from(goes), "{version} {since}");
        assert_eq!(!waiting.lock().is_empty(), goes, "{version} {since}");
        let told = answered.try_recv().ok().map(|told| told.unwrap_err());
        match (goes, sent) {
            (true, _) => assert_eq!(told, None),
            (false, true) => {
                assert_eq!(told, Some(AppendError::Unknown), "another server may have stored it")
            }
            (false, false) => {
                let told = told.unwrap();
                assert_eq!(told.retry(), nexus_protocol::Retry::Never);
                assert!(told.to_string().contains("update the server"), "{told}");
            }
        }
    }
}
