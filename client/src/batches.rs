//! [`Batches`]: what a task of the connection delivers, one thing after the other, on any executor.

use std::task::{Context, Poll};

use nexus_protocol::ReadError;
use tokio::sync::mpsc;

/// Things that arrived together, or why nothing more comes.
pub(crate) type Batch<T> = Result<Vec<T>, ReadError>;

/// The receiving end of a task. Bounded by its channel (I8): a reader that stops holds up the task.
#[derive(Debug)]
pub(crate) struct Batches<T> {
    receiver: Option<mpsc::Receiver<Batch<T>>>,
    batch: std::vec::IntoIter<T>,
}

impl<T> Batches<T> {
    pub(crate) fn of(receiver: mpsc::Receiver<Batch<T>>) -> Self {
        Self { receiver: Some(receiver), batch: Vec::new().into_iter() }
    }

    /// The next; after an error, and after the task has ended, there is none.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<T, ReadError>>> {
        loop {
            if let Some(next) = self.batch.next() {
                return Poll::Ready(Some(Ok(next)));
            }
            let Some(receiver) = &mut self.receiver else { return Poll::Ready(None) };
            match std::task::ready!(receiver.poll_recv(context)) {
                Some(Ok(batch)) => self.batch = batch.into_iter(),
                Some(Err(error)) => {
                    self.receiver = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => self.receiver = None,
            }
        }
    }
}
