//! [`HttpStore`]: a server over HTTP as an `EventStore`, so that it can be held to the contract.
//!
//! Two things cannot be asked of it as such, and are answered here. An empty name is no last piece of a
//! path, and is refused before it is sent. What a delete or a snapshot wrote is answered by its position: the
//! revision in the system's own stream is not said.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use hyper::{Method, StatusCode};
use nexus_protocol::names::check_stream_name;
use nexus_protocol::{
    Append, AppendError, Appended, Direction, EventId, EventStore, ExpectedRevision, FoldIdentity,
    From, Head, InvalidName, Lineage, Position, Read, ReadError, RecordedEvent, Revision, Snapshot,
    SnapshotAt, SnapshotInfo, Start, StreamChange, StreamInfo, Subscribe, SubscriptionItem,
    Unavailable,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::client::{Answer, Ask, Http, Lines, Lost, Messages, encoded};
use super::forms;

/// How what is read, and what is appended, travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Reads a page after the other; each append is a request.
    Pages,
    /// Reads lines; appends are lines of one request.
    Lines,
}

type Job = (Append, oneshot::Sender<Result<Appended, AppendError>>);

/// A server, as a store.
#[derive(Clone)]
pub(crate) struct HttpStore {
    http: Http,
    runtime: Handle,
    style: Style,
    appends: mpsc::UnboundedSender<Job>,
}

fn unavailable(lost: Lost) -> ReadError {
    ReadError::Unavailable { reason: lost.0 }
}

fn not_reachable(lost: Lost) -> AppendError {
    AppendError::Unavailable(Unavailable::NotReachable(lost.0))
}

impl HttpStore {
    /// Over this client, on this runtime.
    pub(crate) fn new(http: Http, runtime: Handle, style: Style) -> Self {
        let (appends, jobs) = mpsc::unbounded_channel();
        match style {
            Style::Pages => runtime.spawn(one_by_one(http.clone(), jobs)),
            Style::Lines => runtime.spawn(super::session::run(http.clone(), jobs)),
        };
        Self { http, runtime, style, appends }
    }

    /// Sends a request from the runtime, and waits for its answer anywhere.
    fn send(&self, ask: Ask) -> impl Future<Output = Result<Answer, Lost>> + Send + use<> {
        let answer = self.runtime.spawn(ask.send());
        async move { answer.await.unwrap() }
    }

    async fn read_answer(&self, ask: Ask) -> Result<Answer, ReadError> {
        let answer = self.send(ask).await.map_err(unavailable)?;
        if answer.status.is_success() { Ok(answer) } else { Err(forms::read_error(&answer.json())) }
    }

    async fn append_answer(&self, ask: Ask) -> Result<Answer, AppendError> {
        let answer = self.send(ask).await.map_err(not_reachable)?;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(forms::append_error(&answer.json()))
        }
    }

    async fn delete(
        &self,
        stream: &str,
        expected: ExpectedRevision,
        query: &str,
    ) -> Result<Appended, AppendError> {
        last_piece(stream)?;
        let ask = self.http.ask(Method::DELETE, format!("{}{query}", path_of(stream, "")));
        let ask = match expected {
            ExpectedRevision::Any => ask,
            ExpectedRevision::NoStream => ask.header("if-none-match", "*"),
            ExpectedRevision::Exists => ask.header("if-match", "*"),
            ExpectedRevision::Exact(revision) => ask.header("if-match", &format!("\"{revision}\"")),
        };
        let answer = self.append_answer(ask).await?.json();
        Ok(wrote(answer["position"].as_u64()))
    }
}

/// What the system wrote, by its position.
fn wrote(position: Option<u64>) -> Appended {
    let position = position.map(Position::new);
    Appended { positions: position.zip(position), streams: Vec::new(), replayed: false }
}

/// Refuses a name that is no last piece of a path.
fn last_piece(name: &str) -> Result<(), InvalidName> {
    if name.is_empty() { check_stream_name(name) } else { Ok(()) }
}

fn path_of(stream: &str, rest: &str) -> String {
    format!("/v1/streams/{}{rest}", encoded(stream))
}

/// Appends in the order that they were handed in: the next is sent when the last is answered.
async fn one_by_one(http: Http, mut jobs: mpsc::UnboundedReceiver<Job>) {
    while let Some((append, answer)) = jobs.recv().await {
        let sent = http.post("/v1/append", &forms::append(&append)).send().await;
        let _ = answer.send(match sent {
            Ok(sent) if sent.status.is_success() => Ok(forms::appended(&sent.json())),
            Ok(sent) => Err(forms::append_error(&sent.json())),
            // It may have been taken.
            Err(_) => Err(AppendError::Unknown),
        });
    }
}

type Items<T> = mpsc::Sender<Result<T, ReadError>>;
type Begin<T> = Box<dyn FnOnce(Items<T>) + Send>;

/// What a task delivers, once it is first asked for.
pub(crate) struct Delivered<T> {
    begin: Option<Begin<T>>,
    items: Option<mpsc::Receiver<Result<T, ReadError>>>,
}

impl<T> Delivered<T> {
    fn by<F>(runtime: &Handle, task: impl FnOnce(Items<T>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = runtime.clone();
        let begin: Begin<T> = Box::new(move |items| drop(runtime.spawn(task(items))));
        Self { begin: Some(begin), items: None }
    }
}

impl<T> Stream for Delivered<T> {
    type Item = Result<T, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(begin) = self.begin.take() {
            let (sender, items) = mpsc::channel(64);
            begin(sender);
            self.items = Some(items);
        }
        self.items.as_mut().expect("it has begun").poll_recv(context)
    }
}

/// A query that is being written.
#[derive(Clone, Default)]
struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    fn set(&mut self, name: &'static str, value: impl ToString) {
        self.0.retain(|(given, _)| *given != name);
        self.0.push((name, value.to_string()));
    }

    fn path(&self, path: &str) -> String {
        let pairs = self.0.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
    }
}

/// Where a read is asked for, and what is said of it.
fn of_read(read: &Read) -> (String, Parameters) {
    let mut query = Parameters::default();
    let path = match &read.stream {
        Some(stream) => path_of(stream, "/events"),
        None => "/v1/events".to_owned(),
    };
    match read.from {
        From::Start => {}
        From::Revision(revision) => query.set("from", revision),
        From::Position(position) => query.set("from_position", position),
        From::Time(time) => query.set("from_time", time),
    }
    if read.direction == Direction::Backwards {
        query.set("direction", "backwards");
    }
    if !read.filter.is_all() {
        query.set("filter", serde_json::to_string(&read.filter).unwrap());
    }
    if let Some(as_of) = read.as_of {
        query.set("as_of", as_of);
    }
    // Who names a stream of the system asks for it.
    if read.system && read.stream.is_none() {
        query.set("system", true);
    }
    (path, query)
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    next: Value,
}

/// Reads page by page until there is no more.
async fn pages(http: &Http, read: &Read, items: &Items<RecordedEvent>) -> Result<(), ReadError> {
    let (path, mut query) = of_read(read);
    let mut left = read.limit;
    while left != Some(0) {
        query.set("limit", left.unwrap_or(u64::MAX).min(1000));
        let answer = http.get(query.path(&path)).send().await.map_err(unavailable)?;
        if answer.status == StatusCode::NOT_FOUND && read.stream.is_some() {
            // A stream that is not there has no events.
            return Ok(());
        }
        if !answer.status.is_success() {
            return Err(forms::read_error(&answer.json()));
        }
        let page: Page = serde_json::from_slice(&answer.body).unwrap();
        left = left.map(|left| left - page.events.len() as u64);
        for event in &page.events {
            let event = forms::recorded(event.get().as_bytes()).unwrap();
            if items.send(Ok(event)).await.is_err() {
                return Ok(());
            }
        }
        query.0.retain(|(name, _)| !name.starts_with("from"));
        match page.next {
            Value::Null => return Ok(()),
            Value::String(token) => query.set("from_position", token),
            next => query.set("from", next),
        }
    }
    Ok(())
}

/// Reads all in one answer.
async fn lines(http: &Http, read: &Read, items: &Items<RecordedEvent>) -> Result<(), ReadError> {
    let (path, mut query) = of_read(read);
    if let Some(limit) = read.limit {
        query.set("limit", limit);
    }
    let ask = http.get(query.path(&path)).header("accept", "application/x-ndjson");
    let answer = ask.open().await.map_err(unavailable)?;
    if answer.status() == StatusCode::NOT_FOUND && read.stream.is_some() {
        return Ok(());
    }
    let is_there = answer.status().is_success();
    let mut lines = Lines::new(answer.into_body());
    if !is_there {
        use http_body_util::BodyExt as _;
        let body =
            lines.into_body().collect().await.map_err(|why| unavailable(Lost(why.to_string())))?;
        return Err(forms::read_error(&serde_json::from_slice(&body.to_bytes()).unwrap()));
    }
    while let Some(line) = lines.next().await.map_err(unavailable)? {
        let Ok(event) = forms::recorded(&line) else {
            return Err(forms::read_error(&serde_json::from_slice(&line).unwrap()));
        };
        if items.send(Ok(event)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Follows until nobody listens: a connection that breaks is made again, after the last id.
async fn follow(http: Http, subscribe: Subscribe, items: Items<SubscriptionItem>) {
    let (path, mut query) = of_read(&Read {
        stream: subscribe.stream,
        filter: subscribe.filter,
        system: subscribe.system,
        ..Read::default()
    });
    let mut last = None;
    match subscribe.start {
        Start::Beginning => {}
        Start::End => query.set("start", "end"),
        Start::At(position) => query.set("from_position", position),
        Start::After(position) => last = Some(position.to_string()),
    }
    if subscribe.checkpoint_every > 0 {
        query.set("checkpoint_every", subscribe.checkpoint_every);
    }
    let path = query.path(&path);
    while !items.is_closed() {
        let mut ask = http.get(&path).header("accept", "text/event-stream");
        if let Some(last) = &last {
            ask = ask.header("last-event-id", last);
        }
        let Ok(answer) = ask.open().await else { continue };
        if !answer.status().is_success() {
            use http_body_util::BodyExt as _;
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let error = forms::read_error(&serde_json::from_slice(&body).unwrap());
            let _ = items.send(Err(error)).await;
            return;
        }
        let mut messages = Messages::new(answer);
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = items.closed() => return,
            };
            let Ok(Some(message)) = message else { break };
            let item = item(&message);
            if let Err(ReadError::Unavailable { .. }) = item {
                break;
            }
            let failed = item.is_err();
            last = message.id.or(last);
            if items.send(item).await.is_err() || failed {
                return;
            }
        }
    }
}

fn item(message: &super::client::Message) -> Result<SubscriptionItem, ReadError> {
    if message.event.is_empty() {
        return Ok(SubscriptionItem::Event(forms::recorded(message.data.as_bytes()).unwrap()));
    }
    let json = message.json();
    let position = json["position"].as_u64().map(Position::new);
    match message.event.as_str() {
        "caught_up" => Ok(SubscriptionItem::CaughtUp { position }),
        "fell_behind" => Ok(SubscriptionItem::FellBehind { position }),
        "checkpoint" => Ok(SubscriptionItem::Checkpoint { position: position.unwrap() }),
        "error" => Err(forms::read_error(&json)),
        other => panic!("no such message: {other}"),
    }
}

impl EventStore for HttpStore {
    type ReadStream = Delivered<RecordedEvent>;
    type Subscription = Delivered<SubscriptionItem>;

    fn append(&self, append: Append) -> impl Future<Output = Result<Appended, AppendError>> + Send {
        let (sender, answer) = oneshot::channel();
        self.appends.send((append, sender)).unwrap();
        async move { answer.await.unwrap_or(Err(AppendError::Unknown)) }
    }

    fn read(&self, read: Read) -> Self::ReadStream {
        let (http, style) = (self.http.clone(), self.style);
        Delivered::by(&self.runtime, async move |items| {
            let ended = match style {
                Style::Pages => pages(&http, &read, &items).await,
                Style::Lines => lines(&http, &read, &items).await,
            };
            if let Err(error) = ended {
                let _ = items.send(Err(error)).await;
            }
        })
    }

    fn subscribe(&self, subscribe: Subscribe) -> Self::Subscription {
        let http = self.http.clone();
        Delivered::by(&self.runtime, async move |items| {
            follow(http, subscribe, items).await;
        })
    }

    async fn event_by_id(&self, id: EventId) -> Result<Option<RecordedEvent>, ReadError> {
        match self.read_answer(self.http.get(format!("/v1/events/{id}"))).await {
            Ok(answer) => Ok(Some(forms::recorded(&answer.body).unwrap())),
            Err(ReadError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn head(&self) -> Result<Head, ReadError> {
        let json = self.read_answer(self.http.get("/v1/head")).await?.json();
        let lineage = u32::try_from(json["lineage"].as_u64().unwrap()).unwrap();
        let position = json["position"].as_u64().map(Position::new);
        Ok(Head { position, lineage: Lineage::new(lineage) })
    }

    async fn stream_info(&self, stream: &str) -> Result<StreamInfo, ReadError> {
        last_piece(stream)?;
        match self.read_answer(self.http.get(path_of(stream, ""))).await {
            Ok(answer) => Ok(forms::stream_info(&answer.json())),
            Err(ReadError::NotFound { .. }) => Ok(forms::missing(stream)),
            Err(error) => Err(error),
        }
    }

    async fn set_stream(
        &self,
        stream: &str,
        change: StreamChange,
    ) -> Result<StreamInfo, AppendError> {
        last_piece(stream)?;
        let ask = self.http.ask(Method::PATCH, path_of(stream, "")).json(&forms::change(&change));
        Ok(forms::stream_info(&self.append_answer(ask).await?.json()))
    }

    async fn delete_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        self.delete(stream, expected, "").await
    }

    async fn tombstone_stream(
        &self,
        stream: &str,
        expected: ExpectedRevision,
    ) -> Result<Appended, AppendError> {
        self.delete(stream, expected, "?tombstone=true").await
    }

    async fn save_snapshot(&self, snapshot: Snapshot) -> Result<Appended, AppendError> {
        let rest = format!("/snapshots/{}", snapshot.revision);
        let ask = self.http.ask(Method::PUT, path_of(snapshot.stream.as_str(), &rest));
        let answer = self.append_answer(ask.json(&forms::new_snapshot(&snapshot))).await?;
        Ok(wrote(answer.json()["position"].as_u64()))
    }

    async fn load_snapshot(
        &self,
        stream: &str,
        at: SnapshotAt,
        fold: FoldIdentity,
    ) -> Result<Option<Snapshot>, ReadError> {
        let mut query = Parameters::default();
        query.set("fold_version", fold.fold_version);
        query.set("upcaster_hash", format!("{:x}", fold.upcaster_hash));
        let rest = match at {
            SnapshotAt::Latest => "/snapshots/latest".to_owned(),
            SnapshotAt::Revision(revision) => format!("/snapshots/{revision}"),
            SnapshotAt::Position(position) => {
                query.set("as_of", format!("position:{position}"));
                "/snapshots/latest".to_owned()
            }
        };
        let ask = self.http.get(query.path(&path_of(stream, &rest)));
        match self.read_answer(ask).await {
            Ok(answer) => Ok(Some(forms::snapshot(&answer.body))),
            Err(ReadError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list_snapshots(&self, stream: &str) -> Result<Vec<SnapshotInfo>, ReadError> {
        let json = self.read_answer(self.http.get(path_of(stream, "/snapshots"))).await?.json();
        let list = json["snapshots"].as_array().unwrap().iter();
        let list = list.map(|one| SnapshotInfo {
            revision: Revision::new(one["revision"].as_u64().unwrap()),
            position: Position::new(one["position"].as_u64().unwrap()),
            fold: forms::fold(one),
        });
        Ok(list.collect())
    }
}
