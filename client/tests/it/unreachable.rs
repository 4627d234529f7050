//! A server that comes back: what was answered that it is not stored is not stored later.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use nexus_protocol::{
    Append, AppendError, EventData, EventStore, Read, ReadError, Retry, Unavailable,
};
use nexus_testing::Server;
use nexus_testing::executor::next;

fn told(stream: &str) -> Append {
    Append::to(stream).event(EventData::json("Told", &stream).unwrap())
}

/// The connection is being made when the append's time is up, and stands later: somebody else's attempt
/// comes first, so that the append's own begins late enough to go on behind its time.
#[test]
fn an_append_that_was_answered_unsent_is_never_sent() {
    let mut server = Server::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let url = format!("{}?timeout_ms=3000&connections=1", server.url());
        let client = nexus_client::connect(&url).await.unwrap();
        server.kill();
        client.reconnect().await;
        let mut first = pin!(client.head());
        let begun = poll_fn(|context| Poll::Ready(first.as_mut().poll(context).is_pending()));
        assert!(begun.await, "nobody answers");
        let (asked, appended) = tokio::join!(first, client.append(told("early")));
        assert!(matches!(asked, Err(ReadError::Unavailable { .. })), "{asked:?}");
        let error = appended.unwrap_err();
        let unsent = matches!(error, AppendError::Unavailable(Unavailable::NotReachable(_)));
        assert!(unsent && matches!(error.retry(), Retry::After(_)), "{error}");
        server.restart();
        // It is behind the other in the session: once it is stored, the other would be, too.
        while let Err(error) = client.append(told("later")).await {
            assert!(matches!(error.retry(), Retry::After(_)), "{error}");
        }
        let mut events = client.read(Read::all());
        let stored = next(&mut events).await.unwrap().unwrap();
        assert_eq!(stored.stream(), "later");
        assert!(next(&mut events).await.is_none(), "nothing else is stored");
    });
}
