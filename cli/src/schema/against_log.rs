//! `nexus schema check --against-log`: a candidate, tried on the events that are there.
//!
//! Events are read by one thread and looked at by the others, some at a time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};
use nexus_client::schemas::{Compiled, compile_with};
use nexus_protocol::schema::{
    NewSchema, SchemaFormat, SchemaReference, SchemaSettings, SettingsOf, SubjectInfo, VersionPick,
    closest,
};
use nexus_protocol::{AppendError, Filter, FilterItem, Read, ReadError, RecordedEvent, names};
use serde::Serialize;

use super::all_subjects;
use super::candidate::CheckArgs;
use crate::exit::Failure;
use crate::output::{Table, number, text};
use crate::store::Remote;

/// Events that are handed to another thread together, and how many such hands may wait for one.
const TOGETHER: usize = 1_024;
const WAITING: usize = 4;
/// Failures that are named; all are counted.
const NAMED_MAX: usize = 100;

/// An event that does not follow the schema.
#[derive(Debug, Serialize)]
pub(super) struct Failed {
    position: u64,
    pointer: String,
    rule: String,
    message: String,
}

/// What became of the events that were looked at.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) checked: u64,
    pub(crate) failed: u64,
    /// The first of them.
    pub(super) failures: Vec<Failed>,
}

/// Makes a schema ready, with what it speaks of.
pub(super) fn compile(
    format: SchemaFormat,
    text: &str,
    references: &[SchemaReference],
    remote: &Remote,
) -> Result<Compiled, Failure> {
    compile_with(format, text, references, |reference| {
        let pick = VersionPick::Number(reference.version);
        remote.wait(remote.client.schema(&reference.subject, pick)).map_err(Failure::from)
    })
}

/// The events that a subject is bound to: those that a filter finds, of which the patterns may take fewer.
pub(super) fn filter_of(info: Option<&SubjectInfo>, subject: &str) -> Filter {
    let exact = |patterns: &[nexus_protocol::schema::Pattern]| -> Option<Vec<String>> {
        let all_exact = patterns.iter().all(nexus_protocol::schema::Pattern::is_exact);
        all_exact.then(|| patterns.iter().map(|it| it.as_str().to_owned()).collect())
    };
    let settings = info.map(|it| it.settings.clone()).unwrap_or_default();
    let mut item = FilterItem::default();
    if settings.types.is_empty() && settings.categories.is_empty() {
        item.types = vec![subject.to_owned()];
    } else {
        // What no filter can say is left to the patterns.
        item.types = exact(&settings.types).unwrap_or_default();
        item.categories = exact(&settings.categories).unwrap_or_default();
    }
    Filter::any([item])
}

/// All subjects, of which events are bound to the closest one.
struct Subjects<'a> {
    subject: &'a str,
    all: Vec<(String, SchemaSettings)>,
    /// Whether events of a category and type are bound to the subject.
    known: RefCell<HashMap<(String, String), bool>>,
}

impl<'a> Subjects<'a> {
    fn with(subject: &'a str, settings: SchemaSettings, remote: &Remote) -> Result<Self, Failure> {
        let others = all_subjects(remote)?.into_iter().filter(|it| it.subject != subject);
        let mut all: Vec<_> = others.map(|it| (it.subject, it.settings)).collect();
        all.push((subject.to_owned(), settings));
        Ok(Self { subject, all, known: RefCell::default() })
    }

    fn binds(&self, event: &RecordedEvent) -> bool {
        let (event_type, category) = (event.event_type(), names::category(event.stream()));
        let key = (category.to_owned(), event_type.to_owned());
        *self.known.borrow_mut().entry(key).or_insert_with(|| {
            let all = self.all.iter().map(|(name, settings)| (name.as_str(), settings, name));
            closest(all, event_type, category).is_some_and(|name| name == self.subject)
        })
    }
}

/// Looks at the events that the subject is bound to.
pub(super) fn run(
    args: &CheckArgs,
    new: &NewSchema,
    remote: &Remote,
    for_people: bool,
) -> Result<Checked, Failure> {
    let subject = &args.candidate.subject;
    let compiled = compile(new.format, &new.schema, &new.references, remote)?;
    let of = SettingsOf::Subject(subject.clone());
    let info = match remote.wait(remote.client.schema_settings(&of)) {
        Ok(info) => Some(info),
        Err(AppendError::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let settings = info.as_ref().map(|it| it.settings.clone()).unwrap_or_default();
    let subjects = Subjects::with(subject, settings, remote)?;
    let read = Read::all().filter(filter_of(info.as_ref(), subject));
    let read = if args.all { read } else { read.backwards() };
    let bar = (for_people && std::io::stderr().is_terminal()).then(progress);
    let sample = if args.all { u64::MAX } else { args.sample };
    let bound = |event: &RecordedEvent| {
        // Links of routes are the system's, wherever they stand.
        !event.event_type().starts_with('$') && subjects.binds(event)
    };
    let checked = look_at(remote, read, sample, &bound, &compiled, bar.as_ref());
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    Ok(checked?)
}

/// Holds the events of a read that are `bound`, at most `sample`, to a schema, on all cores.
pub(crate) fn look_at(
    remote: &Remote,
    read: Read,
    sample: u64,
    bound: &dyn Fn(&RecordedEvent) -> bool,
    compiled: &Compiled,
    bar: Option<&ProgressBar>,
) -> Result<Checked, ReadError> {
    let looking = Looking { compiled, done: Mutex::default(), looked_at: AtomicU64::new(0), bar };
    let threads = std::thread::available_parallelism().map_or(1, |it| it.get().min(8));
    let (hands, waiting) = sync_channel::<Vec<RecordedEvent>>(WAITING);
    let waiting = Mutex::new(waiting);
    let read = std::thread::scope(|scope| {
        for _ in 0..threads {
            let (looking, waiting) = (&looking, &waiting);
            scope.spawn(move || looking.work(waiting));
        }
        // The channel ends with it, and so do those that wait for more.
        hand_over(remote, read, sample, bound, hands)
    });
    read?;
    let mut done = looking.done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.failures.sort_by_key(|it| it.position);
    done.failures.truncate(NAMED_MAX);
    Ok(done)
}

/// Reads events, and hands those that are bound to the subject to whoever looks at them.
fn hand_over(
    remote: &Remote,
    read: Read,
    sample: u64,
    bound: &dyn Fn(&RecordedEvent) -> bool,
    hands: SyncSender<Vec<RecordedEvent>>,
) -> Result<(), ReadError> {
    let (mut events, mut taken) = (remote.client.read(read), 0);
    let mut hand = Vec::with_capacity(TOGETHER);
    while taken < sample
        && let Some(event) = remote.next(&mut events)
    {
        let event = event?;
        if !bound(&event) {
            continue;
        }
        taken += 1;
        hand.push(event);
        if hand.len() == TOGETHER && hands.send(std::mem::take(&mut hand)).is_err() {
            break;
        }
    }
    let _ = hands.send(hand);
    Ok(())
}

/// What the threads that look at events share.
struct Looking<'a> {
    compiled: &'a Compiled,
    done: Mutex<Checked>,
    looked_at: AtomicU64,
    bar: Option<&'a ProgressBar>,
}

impl Looking<'_> {
    fn work(&self, waiting: &Mutex<Receiver<Vec<RecordedEvent>>>) {
        loop {
            let hand = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(mut hand) = hand else { return };
            // Those that are named are the first, whichever way they were read.
            hand.sort_by_key(RecordedEvent::position);
            let mut checked = Checked::default();
            for event in &hand {
                checked.checked += 1;
                let valid = self.compiled.validate(event.content_type(), event.data());
                let Err(problems) = valid else { continue };
                checked.failed += 1;
                if checked.failures.len() < NAMED_MAX {
                    checked.failures.extend(problems.into_iter().map(|it| Failed {
                        position: event.position().get(),
                        pointer: it.pointer,
                        rule: it.rule.into_owned(),
                        message: it.message,
                    }));
                }
            }
            let so_far = self.looked_at.fetch_add(checked.checked, Ordering::Relaxed);
            if let Some(bar) = self.bar {
                bar.set_message(format!("{} events looked at", so_far + checked.checked));
            }
            self.add(checked);
        }
    }

    fn add(&self, more: Checked) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.checked += more.checked;
        done.failed += more.failed;
        done.failures.extend(more.failures);
        // The first are named: those that came late may be among them.
        if done.failures.len() > 4 * NAMED_MAX {
            done.failures.sort_by_key(|it| it.position);
            done.failures.truncate(NAMED_MAX);
        }
    }
}

pub(super) fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}");
    ProgressBar::new_spinner().with_style(style.expect("the template is fixed"))
}

/// The events that do not follow it, a line each.
pub(super) fn table_of(checked: &Checked) -> String {
    let columns = [number("POSITION"), text("RULE"), text("POINTER"), text("WHAT IS WRONG")];
    let mut table = Table::new(&columns);
    for it in &checked.failures {
        let pointer = if it.pointer.is_empty() { "/" } else { &it.pointer };
        let cells =
            [it.position.to_string(), it.rule.clone(), pointer.to_owned(), it.message.clone()];
        table.push(cells.into());
    }
    table.take()
}
