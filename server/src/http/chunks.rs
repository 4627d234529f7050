//! An answer that is sent piece by piece, each made when there is room for it: a client that does not
//! read holds one piece in memory, and no thread.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::mpsc;

use super::call::{Call, UnderWay};
use super::problem::Problem;
use crate::door::ANSWER_TIME_MAX;

/// Where the pieces of an answer go.
#[derive(Debug)]
pub(crate) struct Chunks {
    pieces: mpsc::Sender<Bytes>,
    /// Whether the rest is missing.
    cut: Arc<AtomicBool>,
}

impl Chunks {
    /// Sends a piece, once there is room for it; `false`: nobody reads any more.
    pub(crate) async fn send(&self, chunk: Bytes) -> bool {
        self.pieces.send(chunk).await.is_ok()
    }

    /// The same, for so long as an answer may take: `false` also where that is over. What was sent before
    /// is broken off then, so that nobody takes it for the whole.
    pub(crate) async fn send_in_time(&self, chunk: impl Into<Bytes>) -> bool {
        let sent = tokio::time::timeout(ANSWER_TIME_MAX, self.send(chunk.into())).await;
        if sent.is_err() {
            self.cut.store(true, Ordering::Release);
        }
        sent == Ok(true)
    }

    /// Sends nothing more, so that nobody takes what was sent for the whole.
    pub(crate) fn break_off(self) {
        self.cut.store(true, Ordering::Release);
    }

    /// Waits until nobody reads any more.
    pub(crate) async fn closed(&self) {
        self.pieces.closed().await;
    }
}

#[derive(Debug)]
struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    cut: Arc<AtomicBool>,
}

/// The client took too long, or what is missing could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the rest of the answer is missing")]
struct Cut;

impl Stream for Pieces {
    type Item = Result<Bytes, Cut>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = std::task::ready!(self.pieces.poll_recv(context));
        let cut = || self.cut.swap(false, Ordering::AcqRel).then_some(Err(Cut));
        Poll::Ready(piece.map(Ok).or_else(cut))
    }
}

/// An answer whose pieces a task makes, without a time limit. It counts as under way until they are all made.
pub(crate) fn answer<F>(
    media_type: &'static str,
    under_way: &UnderWay,
    make: impl FnOnce(Chunks) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, pieces) = mpsc::channel(1);
    let cut = Arc::new(AtomicBool::new(false));
    let chunks = Chunks { pieces: sender, cut: Arc::clone(&cut) };
    let under_way = Arc::clone(under_way);
    tokio::spawn(async move {
        make(chunks).await;
        drop(under_way);
    });
    let mut response = Response::new(Body::from_stream(Pieces { pieces, cut }));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Answers longer than this are sent piece by piece, and count as memory of requests until they are sent.
const WHOLE_BYTES_MAX: usize = 64 * 1024;

/// An answer that is there whole: a client that does not take it in time does not get it.
///
/// # Errors
/// When all memory for requests is in use.
pub(crate) fn whole(
    media_type: &'static str,
    call: &Call,
    bytes: Vec<u8>,
) -> Result<Response, Problem> {
    if bytes.len() <= WHOLE_BYTES_MAX {
        return Ok(([(header::CONTENT_TYPE, media_type)], bytes).into_response());
    }
    let memory = call.http.door.memory.try_take(bytes.len()).ok_or_else(Problem::no_memory)?;
    let mut bytes = Bytes::from(bytes);
    let length = HeaderValue::from(bytes.len());
    let mut response = answer(media_type, &call.under_way, async move |chunks| {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(WHOLE_BYTES_MAX));
            if !chunks.send_in_time(piece).await {
                break;
            }
        }
        drop(memory);
    });
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    Ok(response)
}
