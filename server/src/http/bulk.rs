//! Many appends in one request: one a line, submitted as they arrive, and answered one a line, in their
//! order, while later ones still arrive. Each stands for itself.

use std::sync::Arc;

use axum::response::Response;
use nexus_node::Access;
use nexus_protocol::ErrorCode;
use tokio::sync::mpsc;

use super::append::{answer_line, append, lines, parsed};
use super::body::{Lines, Received};
use super::call::{Call, NDJSON};
use super::chunks::{self, Chunks};
use super::problem::Problem;
use crate::in_flight::InFlight;

/// Answers that go out together, in bytes.
const ANSWERS_BYTES: usize = 64 * 1024;

/// What a line came to: an append under way, or why nothing after it is looked at.
enum Line {
    Append(InFlight),
    Ended(Problem),
}

/// Answers a request of many appends.
pub(crate) fn run(mut call: Call, access: Access) -> Result<Response, Problem> {
    let lines = lines(&mut call);
    let in_flight_max = call.http.door.appends_in_flight_max.max(1) as usize;
    let (submitted, answered) = mpsc::channel(in_flight_max);
    let under_way = Arc::clone(&call.under_way);
    Ok(chunks::answer(NDJSON, &under_way, async move |chunks| {
        tokio::join!(submit(&call, access, lines, submitted), answer(answered, chunks));
    }))
}

/// Submits appends as they arrive, and stops at the first line that is none.
async fn submit(call: &Call, access: Access, mut lines: Lines, submitted: mpsc::Sender<Line>) {
    let mut closing = std::pin::pin!(call.http.door.closing());
    loop {
        let line = tokio::select! {
            line = lines.next() => line,
            () = submitted.closed() => return,
            () = &mut closing => {
                let why = "the server is shutting down: later lines were not looked at";
                Err(Problem::new(ErrorCode::UNAVAILABLE, why))
            }
        };
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(problem) => {
                return drop(submitted.send(Line::Ended(call.logged(problem))).await);
            }
        };
        // The appends before hold memory until they are answered: it is not waited for without end.
        let memory = tokio::select! {
            memory = call.http.door.memory.take_in_time(line.len()) => memory,
            () = submitted.closed() => return,
        };
        let received = memory.ok_or_else(Problem::no_memory);
        let received = received.map(|memory| Received::counted(line, memory));
        let parsed = match received {
            Ok(received) => parsed(received, NDJSON, |received, _| append(received)).await,
            Err(problem) => Err(problem),
        };
        let line = match parsed {
            Ok((append, received)) => {
                Line::Append(InFlight::submit(&access, append, received.into_memory()).await)
            }
            Err(problem) => Line::Ended(call.logged(problem.of_line(lines.number()))),
        };
        let ended = matches!(line, Line::Ended(_));
        if submitted.send(line).await.is_err() || ended {
            return;
        }
    }
}

/// Answers in order: what is answered already goes out together.
async fn answer(mut answered: mpsc::Receiver<Line>, chunks: Chunks) {
    let mut out = Vec::new();
    loop {
        let next = match answered.try_recv() {
            Ok(next) => Some(next),
            Err(_) if out.is_empty() => answered.recv().await,
            Err(_) => None,
        };
        match next {
            Some(Line::Append(mut in_flight)) => {
                let answer = match in_flight.settled_now().await {
                    Some(answer) => answer,
                    None => {
                        // Nobody waits for an answer that is there because another is not.
                        if !out.is_empty() && !chunks.send_in_time(std::mem::take(&mut out)).await {
                            return;
                        }
                        in_flight.settled().await
                    }
                };
                out.extend_from_slice(&answer_line(&answer));
            }
            Some(Line::Ended(problem)) => {
                out.extend_from_slice(problem.json().to_string().as_bytes());
                out.push(b'\n');
            }
            None if out.is_empty() => return,
            None => {}
        }
        let is_due = out.len() >= ANSWERS_BYTES || answered.is_empty();
        if is_due && !out.is_empty() && !chunks.send_in_time(std::mem::take(&mut out)).await {
            return;
        }
    }
}
