//! The smallest executor: polls one future on this thread, and parks the thread in between.
//!
//! A store's futures must work on any executor, and this one shares nothing with the large ones. It
//! gives up on a future that nobody wakes, so that a lost wake-up fails a test instead of hanging it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use futures_core::Stream;

/// How long a future may stay without a wake-up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Runs a future to its end.
///
/// # Panics
/// When nothing wakes the future for a minute.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let unpark = Arc::new(Unpark { thread: std::thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&unpark));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        let since = Instant::now();
        while !unpark.woken.swap(false, Ordering::AcqRel) {
            let left = SILENCE_MAX.checked_sub(since.elapsed());
            std::thread::park_timeout(left.expect("a pending future is woken within a minute"));
        }
    }
}

/// The next item of a stream.
pub async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}

/// Runs futures together; their outputs in order. All are polled when one is woken.
pub async fn join<F: Future + Unpin>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<Option<F>> = futures.into_iter().map(Some).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (slot, output) in futures.iter_mut().zip(&mut outputs) {
            let Some(future) = slot else { continue };
            if let Poll::Ready(ready) = std::pin::Pin::new(future).poll(context) {
                *output = Some(ready);
                *slot = None;
            }
        }
        if futures.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().map(|output| output.expect("all are ready")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn futures_run_to_their_end_and_keep_their_order() {
        assert_eq!(block_on(async { 7 }), 7);
        let mut yielded = false;
        let once = std::future::poll_fn(move |context| {
            if std::mem::replace(&mut yielded, true) {
                Poll::Ready(1)
            } else {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        });
        let boxed: Vec<std::pin::Pin<Box<dyn Future<Output = i32>>>> =
            vec![Box::pin(once), Box::pin(async { 2 })];
        assert_eq!(block_on(join(boxed)), [1, 2]);
    }
}
