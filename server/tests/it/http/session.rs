//! Appends as lines of one request: sent as they are handed in, answered in their order while later ones
//! are still to come.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::channel::Channel;
use hyper::Method;
use nexus_protocol::{Append, AppendError, Appended};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::client::{Http, Lines};
use super::forms;

type Answer = oneshot::Sender<Result<Appended, AppendError>>;

/// One line.
pub(crate) fn line(json: &Value) -> Bytes {
    let mut line = json.to_string();
    line.push('\n');
    line.into()
}

/// Appends until nobody hands anything in. A session that ends is begun again with the next append.
pub(crate) async fn run(http: Http, mut jobs: mpsc::UnboundedReceiver<(Append, Answer)>) {
    let mut next = jobs.recv().await;
    while let Some(first) = next {
        next = session(&http, first, &mut jobs).await;
    }
}

/// Appends in one request, and gives back what was handed in when it had ended.
async fn session(
    http: &Http,
    first: (Append, Answer),
    jobs: &mut mpsc::UnboundedReceiver<(Append, Answer)>,
) -> Option<(Append, Answer)> {
    let (mut lines, body) = Channel::new(16);
    let ask = http.ask(Method::POST, "/v1/append").body("application/x-ndjson", body.boxed());
    let (sent, mut unanswered) = mpsc::unbounded_channel::<Answer>();
    let answers = tokio::spawn(async move {
        let Ok(answer) = ask.open().await else { return };
        assert!(answer.status().is_success());
        let mut lines = Lines::new(answer.into_body());
        while let Ok(Some(line)) = lines.next().await {
            let json: Value = serde_json::from_slice(&line).unwrap();
            let answer = match json.get("code") {
                None => Ok(forms::appended(&json)),
                Some(_) => Err(forms::append_error(&json)),
            };
            let ended = json.get("line").is_some();
            let Some(to) = unanswered.recv().await else { return };
            let _ = to.send(answer);
            if ended {
                return;
            }
        }
    });
    let mut job = first;
    loop {
        let (append, answer) = job;
        let Ok(()) = lines.send_data(line(&forms::append(&append))).await else {
            return Some((append, answer));
        };
        if sent.send(answer).is_err() || answers.is_finished() {
            return jobs.recv().await;
        }
        job = jobs.recv().await?;
    }
}
