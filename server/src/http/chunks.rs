//! An answer that is sent piece by piece, each made when there is room for it: a client that does not
//! read holds one piece in memory, and no thread.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::mpsc;

use crate::door::Door;

/// Where the pieces of an answer go.
#[derive(Debug)]
pub(crate) struct Chunks(mpsc::Sender<Bytes>);

impl Chunks {
    /// Sends a piece, once there is room for it; `false`: nobody reads any more.
    pub(crate) async fn send(&self, chunk: Bytes) -> bool {
        self.0.send(chunk).await.is_ok()
    }

    /// Waits until nobody reads any more.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}

#[derive(Debug)]
struct Pieces(mpsc::Receiver<Bytes>);

impl Stream for Pieces {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|piece| piece.map(Ok))
    }
}

/// An answer whose pieces a task makes. It counts as under way until they are all made.
pub(crate) fn answer<F>(
    media_type: &'static str,
    door: &Arc<Door>,
    make: impl FnOnce(Chunks) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let (chunks, pieces) = mpsc::channel(1);
    let requests = Arc::clone(&door.requests);
    tokio::spawn(async move {
        let under_way = requests.acquire_owned().await.expect("the semaphore is never closed");
        make(Chunks(chunks)).await;
        drop(under_way);
    });
    let mut response = Response::new(Body::from_stream(Pieces(pieces)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
