//! Convergence, against a store that stops taking appends at any moment.

use std::cell::{Cell, RefCell};

use nexus_protocol::{Position, Unavailable};

use super::*;

/// A store that takes so many appends and then closes; those in flight may or may not stand.
#[derive(Default)]
struct Fake {
    events: RefCell<Vec<(String, EventData)>>,
    appends: Cell<usize>,
    appends_max: Option<usize>,
    busy_every: Option<usize>,
    in_flight: Cell<(usize, usize)>,
}

impl Fake {
    fn stored(&self) -> Vec<(String, EventId)> {
        let id = |event: &EventData| event.id.unwrap();
        self.events.borrow().iter().map(|(stream, event)| (stream.clone(), id(event))).collect()
    }
}

impl Target for Fake {
    type Pending = (Result<Appended, AppendError>, usize);

    fn look_up(&self, row: &Row) -> Result<Standing, ReadError> {
        let events = self.events.borrow();
        let found = events.iter().position(|(_, stored)| stored.id == Some(row.id));
        Ok(match found {
            None => Standing::New,
            Some(at) if events[at] == (row.stream.clone(), row.event.clone()) => Standing::Same,
            Some(at) => Standing::Other(Position::new(at as u64)),
        })
    }

    fn submit(&self, append: Append) -> Self::Pending {
        let number = self.appends.get();
        self.appends.set(number + 1);
        let count = append.event_count();
        let (now, most) = self.in_flight.get();
        self.in_flight.set((now + count, most.max(now + count)));
        if self.appends_max.is_some_and(|max| number >= max) {
            return (Err(AppendError::Unavailable(Unavailable::Closed)), count);
        }
        if self.busy_every.is_some_and(|every| number.is_multiple_of(every)) {
            let (waited_ms, retry_after) = (5, Duration::from_millis(1));
            return (Err(AppendError::Overloaded { waited_ms, retry_after }), count);
        }
        let mut events = self.events.borrow_mut();
        let mut streams = HashSet::new();
        for stream in append.streams {
            assert!(streams.insert(stream.stream.clone()), "each stream is named once");
            events.extend(stream.events.into_iter().map(|event| (stream.stream.clone(), event)));
        }
        let last = Position::new(events.len() as u64 - 1);
        let positions = Some((last, last));
        (Ok(Appended { positions, streams: Vec::new(), replayed: false }), count)
    }

    fn wait(&self, (answer, count): Self::Pending) -> Result<Appended, AppendError> {
        let (now, most) = self.in_flight.get();
        self.in_flight.set((now - count, most));
        answer
    }

    fn pause(&self, _: Duration) {}
}

fn row(number: u64, stream: &str) -> Row {
    let id = EventId::from_bytes(u128::from(number).to_le_bytes());
    let event = EventData::json("T", &number).unwrap().id(id);
    Row { line: number + 2, stream: stream.to_owned(), event, id, left_out: false }
}

fn rows(count: u64) -> Vec<Row> {
    (0..count).map(|number| row(number, &format!("s-{}", number / 3 % 7 * (number % 2)))).collect()
}

fn load(target: &Fake, rows: &[Row]) -> (Result<(), LoadError>, Loaded) {
    let mut loader = Loader::new(target);
    let pushed = rows.iter().try_for_each(|row| loader.push(row.clone()));
    let finished = pushed.and_then(|()| loader.finish().map(drop));
    (finished, loader.loaded())
}

fn expected(rows: &[Row]) -> Vec<(String, EventId)> {
    rows.iter().map(|row| (row.stream.clone(), row.id)).collect()
}

#[test]
fn rows_are_stored_once_and_in_order() {
    let target = Fake::default();
    let rows = rows(5_000);
    let (result, loaded) = load(&target, &rows);
    result.unwrap();
    assert_eq!(loaded, Loaded { appended: 5_000, already_there: 0 });
    assert_eq!(target.stored(), expected(&rows));
    let (_, again) = load(&target, &rows);
    assert_eq!(again, Loaded { appended: 0, already_there: 5_000 });
    assert_eq!(target.stored().len(), 5_000);
}

#[test]
fn a_killed_import_converges_whenever_it_was_killed() {
    let rows = rows(1_500);
    let whole = Fake::default();
    load(&whole, &rows).0.unwrap();
    assert!(whole.appends.get() > 20, "there are moments to be killed at");
    for appends in 0..whole.appends.get() {
        let mut target = Fake { appends_max: Some(appends), ..Fake::default() };
        load(&target, &rows).0.unwrap_err();
        let before = target.stored();
        assert_eq!(before, expected(&rows)[..before.len()], "what stands is a beginning");
        target.appends_max = None;
        let (result, loaded) = load(&target, &rows);
        result.unwrap();
        assert_eq!(loaded.already_there, before.len() as u64);
        assert_eq!(target.stored(), expected(&rows));
    }
}

#[test]
fn rows_that_were_added_at_the_end_are_appended() {
    let target = Fake::default();
    let rows = rows(2_000);
    load(&target, &rows[..777]).0.unwrap();
    let (_, loaded) = load(&target, &rows);
    assert_eq!(loaded, Loaded { appended: 1_223, already_there: 777 });
    assert_eq!(target.stored(), expected(&rows));
}

#[test]
fn an_id_that_comes_twice_in_one_input_is_appended_once() {
    let target = Fake::default();
    let rows = [rows(700), rows(700)].concat();
    let (result, loaded) = load(&target, &rows);
    result.unwrap();
    assert_eq!(loaded, Loaded { appended: 700, already_there: 700 });
}

#[test]
fn an_id_that_another_event_has_stops_it_and_what_is_before_it_stays() {
    let other = || Row { event: row(9, "s").event.id(row(0, "s").id), ..row(0, "s") };
    let check = |stored: &[Row], input: &[Row], before: usize| {
        let target = Fake::default();
        load(&target, stored).0.unwrap();
        let mut loader = Loader::new(&target);
        let pushed = input.iter().try_for_each(|row| loader.push(row.clone()));
        let error = pushed.and_then(|()| loader.finish().map(drop)).unwrap_err();
        loader.settle_rest();
        let LoadError::Append { places, error: AppendError::IdReused { id, .. } } = error else {
            panic!("{error}")
        };
        assert_eq!((places.to_string().as_str(), id), ("line 2", row(0, "s").id));
        assert_eq!(target.stored().len(), before);
    };
    // In the log before, and in the same input, on its way.
    check(&[row(0, "s")], &[row(1, "s"), row(2, "t"), other(), row(3, "s")], 3);
    check(&[], &[row(1, "s"), row(0, "s"), other(), row(3, "s")], 2);
    let moved = Row { stream: "t".to_owned(), ..row(0, "s") };
    check(&[row(0, "s")], &[moved], 1);
}

#[test]
fn a_busy_store_is_asked_again() {
    let target = Fake { busy_every: Some(5), ..Fake::default() };
    let rows = rows(1_000);
    let (result, loaded) = load(&target, &rows);
    result.unwrap();
    assert_eq!(loaded.appended, 1_000);
    assert_eq!(target.stored().len(), 1_000);
}

#[test]
fn what_is_in_flight_is_bounded() {
    let target = Fake::default();
    load(&target, &rows(20_000)).0.unwrap();
    let (left, most) = target.in_flight.get();
    assert_eq!(left, 0);
    assert!(most <= IN_FLIGHT_ROWS_MAX, "{most}");
    assert!(most > BATCH_ROWS_MAX, "a batch is handed in before the one before is answered");
}

#[test]
fn a_refused_append_names_its_lines() {
    let target = Fake { appends_max: Some(0), ..Fake::default() };
    let (result, _) = load(&target, &[row(0, "a"), row(1, "a")]);
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("lines 2 to 3: append is refused"), "{error}");
}
