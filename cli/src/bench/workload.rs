//! What is written and read: orders as JSON, the same in every run, and the threads that append
//! them.
//!
//! Every append carries an expected revision, and every writer waits for its answer before the next
//! one. The latency of an append is from the call to its answer; making the events counts for the
//! throughput.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nexus_engine::Engine;
use nexus_protocol::{Append, AppendError, Appended, EventData, ExpectedRevision, JSON, Revision};

use super::rounds::{Latencies, Turn};
use crate::exit::Failure;

/// Bytes of `data` of every event.
pub const DATA_BYTES: usize = 256;
/// Events of a stream, after which a writer goes on with a new one.
pub(super) const STREAM_EVENTS: u64 = 100;
/// Where the `order_id` begins in the data.
const NUMBER_AT: usize = "{\"order_id\":\"".len();
/// Different orders; then they come again.
const ORDERS: usize = 4096;
const TYPES: [&str; 4] = ["OrderPlaced", "OrderPaid", "OrderShipped", "OrderDelivered"];
const SKUS: [&str; 6] = ["lamp", "chair", "table", "shelf", "carpet", "mirror"];
/// What notes are made of.
const WORDS: [&str; 32] = [
    "deliver",
    "to",
    "the",
    "back",
    "door",
    "ring",
    "twice",
    "and",
    "leave",
    "it",
    "with",
    "a",
    "neighbour",
    "if",
    "nobody",
    "answers",
    "invoice",
    "goes",
    "office",
    "receipt",
    "into",
    "box",
    "please",
    "take",
    "old",
    "one",
    "along",
    "before",
    "noon",
    "on",
    "any",
    "weekday",
];

/// Numbers that look like chance and are the same in every run.
#[derive(Clone, Debug)]
pub(super) struct Seeded(u64);

impl Seeded {
    /// From a seed.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number (splitmix64).
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The data of the events.
#[derive(Debug)]
pub struct Orders {
    data: Vec<Bytes>,
}

impl Orders {
    /// The same in every run.
    pub fn seeded() -> Self {
        let mut seeded = Seeded::new(20_261_123);
        // One allocation each: shared ones would make the writers share a counter.
        Self { data: (0..ORDERS).map(|_| order(&mut seeded).into()).collect() }
    }

    /// Event number `number`.
    pub(super) fn event(&self, number: u64) -> EventData {
        let index = usize::try_from(number).unwrap_or(0) % ORDERS;
        EventData::new(TYPES[index % TYPES.len()], JSON, self.data[index].clone())
    }

    /// Data of the same length and kind, whose `order_id` is `number` in 16 digits of base 16, so that a store that
    /// gives events no ids of their own can be asked which one it delivered.
    pub fn numbered(&self, number: u64) -> Bytes {
        let index = usize::try_from(number).unwrap_or(0) % ORDERS;
        let mut data = self.data[index].to_vec();
        data[NUMBER_AT..NUMBER_AT + 16].copy_from_slice(format!("{number:016x}").as_bytes());
        data.into()
    }

    /// Bytes of 64 KiB of data, over those that zstd makes of them at level 3.
    pub(super) fn zstd_ratio(&self) -> Result<f64, Failure> {
        let plain: Vec<u8> = self.data.iter().flatten().copied().take(64 * 1024).collect();
        zstd_ratio(&plain)
    }
}

/// Bytes, over those that zstd makes of them at level 3.
///
/// # Errors
/// When it cannot.
pub(super) fn zstd_ratio(plain: &[u8]) -> Result<f64, Failure> {
    let packed = zstd::bulk::compress(plain, 3)
        .map_err(|error| Failure::failed(format!("zstd: {error}")))?;
    Ok(plain.len() as f64 / packed.len() as f64)
}

/// The number that [`Orders::numbered`] put into this data.
pub fn number_of(data: &[u8]) -> Option<u64> {
    let digits = data.get(NUMBER_AT..NUMBER_AT + 16)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// One order as JSON, of exactly [`DATA_BYTES`].
fn order(seeded: &mut Seeded) -> String {
    let mut text = format!(
        "{{\"order_id\":\"{:016x}\",\"customer_id\":{},\"lines\":[",
        seeded.next(),
        seeded.below(100_000)
    );
    let (lines, mut total_cents) = (1 + seeded.below(2), 0);
    for line in 0..lines {
        let sku = SKUS[usize::try_from(seeded.below(6)).unwrap_or(0)];
        let (quantity, price_cents) = (1 + seeded.below(9), 100 + seeded.below(90_000));
        total_cents += quantity * price_cents;
        let comma = if line == 0 { "" } else { "," };
        write!(
            text,
            "{comma}{{\"sku\":\"{sku}\",\"quantity\":{quantity},\"price_cents\":{price_cents}}}"
        )
        .expect("a String takes all");
    }
    write!(text, "],\"total_cents\":{total_cents},\"note\":\"").expect("a String takes all");
    let left = DATA_BYTES - text.len() - 2;
    let mut note = String::new();
    while note.len() < left {
        note.push_str(WORDS[usize::try_from(seeded.below(32)).unwrap_or(0)]);
        note.push(' ');
    }
    text.push_str(&note[..left]);
    text.push_str("\"}");
    assert_eq!(text.len(), DATA_BYTES, "orders are as long as they are said to be");
    text
}

/// One who appends, and waits for each answer.
#[derive(Debug)]
pub(super) struct Writer {
    orders: Arc<Orders>,
    name: String,
    /// Streams it has filled.
    filled: u64,
    /// Events in its current stream.
    written: u64,
    next_order: u64,
}

impl Writer {
    /// So many writers; `scenario` tells their streams from those of others.
    pub(super) fn several(orders: &Arc<Orders>, scenario: &str, writers: usize) -> Vec<Self> {
        let writer = |number: usize| Self {
            orders: Arc::clone(orders),
            name: format!("order-{scenario}-{number}"),
            filled: 0,
            written: 0,
            next_order: number as u64 * 97,
        };
        (0..writers).map(writer).collect()
    }

    /// The next append of `batch` events.
    pub(super) fn next(&mut self, batch: u64) -> Append {
        if self.written + batch > STREAM_EVENTS {
            self.filled += 1;
            self.written = 0;
        }
        let append = append_of(
            &self.orders,
            format!("{}-{}", self.name, self.filled),
            self.written,
            self.next_order,
            batch,
        );
        self.written += batch;
        self.next_order += batch;
        append
    }

    /// The last append that [`next`](Self::next) gave was not sent: its place is free for another.
    pub(super) fn give_back(&mut self, batch: u64) {
        self.written -= batch;
    }

    fn run(
        &mut self,
        append_one: &(impl Fn(Append) -> Result<Appended, AppendError> + Sync),
        batch: u64,
        until: Instant,
    ) -> Result<Turn, Failure> {
        let mut turn = Turn::default();
        loop {
            let append = self.next(batch);
            let begun = Instant::now();
            if begun >= until {
                self.give_back(batch);
                return Ok(turn);
            }
            append_one(append)?;
            turn.latencies.add(begun.elapsed());
            turn.events += batch;
        }
    }
}

/// An append of `batch` events to a stream that has `written`.
fn append_of(orders: &Orders, stream: String, written: u64, order: u64, batch: u64) -> Append {
    let expected = match written.checked_sub(1) {
        Some(last) => ExpectedRevision::Exact(Revision::new(last)),
        None => ExpectedRevision::NoStream,
    };
    let events = (order..order + batch).map(|number| orders.event(number));
    Append::to(stream).expected(expected).events(events)
}

/// All writers append for so long; they begin together.
///
/// # Errors
/// The first append that was not acknowledged.
pub(super) fn append_for(
    engine: &Engine,
    writers: &mut [Writer],
    batch: u64,
    duration: Duration,
) -> Result<Turn, Failure> {
    append_by(&|append| engine.append(append).wait(), writers, batch, duration)
}

/// The same, by whatever appends.
///
/// # Errors
/// The first append that was not acknowledged.
pub(super) fn append_by(
    append_one: &(impl Fn(Append) -> Result<Appended, AppendError> + Sync),
    writers: &mut [Writer],
    batch: u64,
    duration: Duration,
) -> Result<Turn, Failure> {
    let barrier = Barrier::new(writers.len());
    let barrier = &barrier;
    let turns: Vec<Result<(Turn, Instant, Instant), Failure>> = std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .iter_mut()
            .map(|writer| {
                scope.spawn(move || {
                    barrier.wait();
                    let begun = Instant::now();
                    let turn = writer.run(append_one, batch, begun + duration)?;
                    Ok((turn, begun, Instant::now()))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a writer does not panic")).collect()
    });
    together(turns)
}

/// One turn of what several did at the same time, each with its beginning and its end.
///
/// # Errors
/// The first error of any of them.
pub(super) fn together(
    turns: impl IntoIterator<Item = Result<(Turn, Instant, Instant), Failure>>,
) -> Result<Turn, Failure> {
    let (mut all, mut first, mut last) = (Turn::default(), None, None);
    for turn in turns {
        let (turn, begun, ended) = turn?;
        all.events += turn.events;
        all.latencies.add_all(&turn.latencies);
        first = Some(first.map_or(begun, |first: Instant| first.min(begun)));
        last = Some(last.map_or(ended, |last: Instant| last.max(ended)));
    }
    if let (Some(first), Some(last)) = (first, last) {
        all.elapsed = last - first;
    }
    Ok(all)
}

/// Name of stream `number` of those that [`fill`] writes.
pub(super) fn stream_name(number: u64) -> String {
    format!("order-{number}")
}

/// Writes `streams` streams of [`STREAM_EVENTS`] events, in rounds that each append `round_events`
/// to every stream, so that the events of a stream stand far apart.
///
/// # Errors
/// The first append that was not acknowledged.
pub(super) fn fill(
    engine: &Engine,
    orders: &Orders,
    streams: u64,
    round_events: u64,
) -> Result<(), Failure> {
    let mut pending = VecDeque::with_capacity(UNDER_WAY);
    for append in fillings(orders, streams, round_events, stream_name) {
        pending.push_back(engine.append(append));
        if pending.len() == UNDER_WAY
            && let Some(oldest) = pending.pop_front()
        {
            oldest.wait()?;
        }
    }
    pending.into_iter().try_for_each(|append| append.wait().map(drop))?;
    Ok(())
}

/// Appends that are under way at once while a log is filled.
pub(super) const UNDER_WAY: usize = 256;

/// The appends of [`fill`], to streams that are called so.
pub(super) fn fillings(
    orders: &Orders,
    streams: u64,
    round_events: u64,
    name: impl Fn(u64) -> String,
) -> impl Iterator<Item = Append> {
    let rounds = (0..STREAM_EVENTS).step_by(usize::try_from(round_events).unwrap_or(1));
    let places = rounds.flat_map(move |written| (0..streams).map(move |stream| (written, stream)));
    places.map(move |(written, stream)| {
        let order = stream * STREAM_EVENTS + written;
        append_of(orders, name(stream), written, order, round_events)
    })
}

/// Latencies of something that is done again and again, for so long.
///
/// # Errors
/// The first that `once` gives.
pub(super) fn repeat_for(
    duration: Duration,
    mut once: impl FnMut() -> Result<u64, Failure>,
) -> Result<Turn, Failure> {
    let mut turn = Turn { latencies: Latencies::default(), ..Turn::default() };
    let begun = Instant::now();
    while turn.events == 0 || begun.elapsed() < duration {
        let since = Instant::now();
        turn.events += once()?;
        turn.latencies.add(since.elapsed());
    }
    turn.elapsed = begun.elapsed();
    Ok(turn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_json_of_one_length_and_the_same_in_every_run() {
        let orders = Orders::seeded();
        for data in &orders.data {
            assert_eq!(data.len(), DATA_BYTES);
            let order: serde_json::Value = serde_json::from_slice(data).unwrap();
            assert!(order["total_cents"].as_u64().unwrap() > 0);
        }
        assert_eq!(orders.data, Orders::seeded().data);
        for number in [0, 4097, u64::MAX] {
            let data = orders.numbered(number);
            assert_eq!((data.len(), number_of(&data)), (DATA_BYTES, Some(number)));
            let order: serde_json::Value = serde_json::from_slice(&data).unwrap();
            assert_eq!(order["order_id"], format!("{number:016x}"));
        }
        assert_eq!(number_of(b"{}"), None);
        let ratio = orders.zstd_ratio().unwrap();
        assert!((2.0..8.0).contains(&ratio), "{ratio}");
    }

    #[test]
    fn writers_fill_streams_and_expect_what_they_wrote() {
        let engine = Engine::in_memory();
        let orders = Arc::new(Orders::seeded());
        let mut writers = Writer::several(&orders, "test", 2);
        let turn = append_for(&engine, &mut writers, 40, Duration::from_millis(20)).unwrap();
        assert_eq!(turn.events % 40, 0);
        assert_eq!(engine.stats().events, turn.events);
        let again = append_for(&engine, &mut writers, 1, Duration::from_millis(20)).unwrap();
        assert_eq!(engine.stats().events, turn.events + again.events);
        assert!(again.per_s() > 0.0 && again.latencies.us(0.5) > 0.0);
        fill(&engine, &orders, 3, 10).unwrap();
        assert_eq!(engine.stats().events, turn.events + again.events + 300);
    }
}
