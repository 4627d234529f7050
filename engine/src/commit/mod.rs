//! Group commit: whatever waits becomes one frame; one write and one sync for all of it.
//!
//! The state of the writer stands behind one lock. Whoever holds it pumps: drains the queue into a
//! frame, decides, writes, waits for the disk, publishes the watermark, answers. A thread that waits
//! for its own append pumps by itself when nobody else does, so that a single writer pays for no
//! hand-off; under load the committer thread does. One code path, two callers.
//!
//! Appenders that wait for each answer move in circles: answered, woken, back with the next append.
//! So that the disk neither idles while they run nor writes a frame for each of them, what is worth
//! a frame is written before the ones answered are woken, and those are given the time to come back.
//! There is no timer: giving time is yielding the processor as long as more and more come back.
//!
//! Invariants: I1 (an answer comes after the sync of all it was computed from), I2 (readers see only
//! what is committed), I7 (a failed write or sync poisons the log; nothing is retried), I8.

mod completion;
mod pending;
mod placed;
mod queue;
mod replicate;
mod signal;

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use nexus_protocol::limits::{CLOCK_JUMP_ALARM_US, CLOCK_JUMP_REFUSE_US, FRAME_BYTES_TARGET};
use nexus_protocol::{AppendError, Appended, Position, Timestamp, Unavailable};

pub(crate) use completion::Completion;
use completion::Woken;
pub use pending::PendingAppend;
pub(crate) use pending::submit;
use placed::{LateIds, Placed};
pub(crate) use queue::{Queue, Waiting};
pub use replicate::{LocalReplicator, ReplicatedFrame, Replicator, SeamError, Seams};
pub(crate) use signal::{Signal, Signals};

use crate::error::{LogError, describe};
use crate::frame::{EntryId, FrameBuilder, HEADER_BYTES};
use crate::index::{Index, Lists};
use crate::io::align_up;
use crate::log::{Log, Writer};
use crate::sequencer::{Decision, PreparedAppend, StreamPlace, appended, decide, entry_of};

/// So often the processor is yielded to appenders without one of them coming back, at most.
const YIELDS_MAX: usize = 32;
/// The committer thread turns to another namespace after so many frames of one.
const FRAMES_A_TURN: usize = 64;

type Guard<'a> = MutexGuard<'a, CommitState>;

/// An append's answer, held back until the frame it depends on is durable.
type Held = (Arc<Completion>, Result<Appended, AppendError>);

/// What one namespace's commit path works on.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) log: Arc<Log>,
    pub(crate) index: Arc<Index>,
    pub(crate) queue: Queue,
    state: Mutex<CommitState>,
    /// A frame aims at so many bytes.
    frame_bytes: usize,
    /// Something needs the committer thread.
    pub(crate) signal: Arc<Signal>,
    read_only: bool,
}

/// What is behind the lock.
#[derive(Debug)]
pub(crate) struct CommitState {
    pub(crate) writer: Writer,
    /// For each frame in flight, the answers that wait for it.
    held: VecDeque<Vec<Held>>,
    /// Frames that are durable here, and not yet known to be committed.
    awaiting: VecDeque<Awaiting>,
    /// Numbers frames, and says what is committed.
    replicator: Box<dyn Replicator>,
    /// Wall clock and boot-time clock when the log was opened, in microseconds.
    clock: (i64, u128),
    alarmed: bool,
    /// The engine was closed, or the namespace deleted: nothing is written any more.
    stopped: bool,
    /// Who is to be woken, when the lock is given back.
    woken: Woken,
}

impl CommitState {
    /// Answers an append.
    fn answer(&mut self, completion: &Completion, answer: Result<Appended, AppendError>) {
        self.woken.add(completion.answer(answer));
    }

    fn answer_all(&mut self, held: Vec<Held>) {
        held.into_iter().for_each(|(completion, answer)| self.answer(&completion, answer));
    }
}

/// A durable frame that waits to be committed.
#[derive(Debug)]
struct Awaiting {
    entry: EntryId,
    next_position: u64,
    held: Vec<Held>,
}

impl Committer {
    pub(crate) fn new(
        log: Arc<Log>,
        index: Arc<Index>,
        writer: Writer,
        signal: Arc<Signal>,
        settings: Settings,
    ) -> Self {
        let clock = (log.disk.now().as_micros(), log.disk.boot_time().as_micros());
        let state = CommitState {
            writer,
            held: VecDeque::new(),
            awaiting: VecDeque::new(),
            replicator: Box::new(LocalReplicator),
            clock,
            alarmed: false,
            stopped: false,
            woken: Woken::default(),
        };
        Self {
            log,
            index,
            queue: Queue::new(settings.queue_appends_max),
            state: Mutex::new(state),
            frame_bytes: settings.frame_bytes.min(FRAME_BYTES_TARGET),
            signal,
            read_only: settings.read_only,
        }
    }

    /// Whether appends are refused for good.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The writer's state; waits for whoever holds it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, CommitState> {
        self.state.lock().expect("no panic while a frame is committed")
    }

    /// The end of what is durable, if nobody commits now.
    pub(crate) fn durable_end_if_idle(&self) -> Option<crate::frame::LogOffset> {
        let state = self.state.try_lock().ok()?;
        (state.writer.in_flight() == 0).then(|| state.writer.durable_end())
    }

    /// Pumps until nothing waits and nothing is in flight, or so much was done that others should
    /// have their turn. Answers whether anything waits.
    pub(crate) fn pump_turn(&self) -> bool {
        self.pump(self.lock(), None);
        // Whoever came while the lock was held found it taken, and relies on this look.
        !self.queue.is_empty()
    }

    /// Commits what waits, for the last time: from then on nothing is written, by nobody. The queue is
    /// closed. Answers what is durable.
    fn stop(&self) -> crate::frame::LogOffset {
        while self.pump_turn() {}
        let mut state = self.lock();
        assert_eq!(state.writer.in_flight(), 0, "all that was begun has ended");
        state.stopped = true;
        state.writer.durable_end()
    }

    /// The same, and nothing more is to be waited for: subscribers end. Answers what is durable.
    pub(crate) fn end(&self) -> crate::frame::LogOffset {
        let end = self.stop();
        self.log.committed.close();
        end
    }

    /// Pumps until `own` is answered, if nobody else pumps. Answers whether it did.
    pub(crate) fn try_pump(&self, own: Option<&Completion>) -> bool {
        let state = if self.signal.listened.load(Ordering::Acquire) {
            match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::WouldBlock) => return false,
                Err(TryLockError::Poisoned(_)) => panic!("a panic while a frame was committed"),
            }
        } else {
            self.lock()
        };
        // As above.
        if self.pump(state, own) || !self.queue.is_empty() {
            self.signal.raise();
        }
        true
    }

    /// Answers whether frames are still in flight.
    fn pump<'a>(&'a self, mut guard: Guard<'a>, own: Option<&Completion>) -> bool {
        // Without a thread that goes on where this one stops, all is done here.
        let listened = self.signal.listened.load(Ordering::Acquire);
        let frames_max = if listened { FRAMES_A_TURN } else { usize::MAX };
        let mut frames = 0;
        loop {
            let state = &mut *guard;
            while frames < frames_max && self.is_due(state) && self.fill(state) {
                frames += 1;
            }
            if state.writer.in_flight() == 0 {
                return self.leave(guard);
            }
            let answered = self.complete(state);
            let may_go_on = frames < frames_max && !state.writer.waits_in_append();
            if may_go_on && self.queue.is_worth_a_frame(self.frame_bytes) && self.fill(state) {
                frames += 1;
            }
            if own.is_some_and(Completion::is_done) {
                return self.leave(guard);
            }
            guard = self.wake(guard);
            self.gather(answered);
        }
    }

    /// Wakes whose appends were answered. A task's waker is foreign code, which may append and wait:
    /// the lock is given back while it runs. Where only threads wait, it is kept, so that none of
    /// them comes back before the others were woken too, and begins a frame of its own.
    fn wake<'a>(&'a self, mut guard: Guard<'a>) -> Guard<'a> {
        guard.woken.wake_threads();
        if !guard.woken.has_tasks() {
            return guard;
        }
        let woken = std::mem::take(&mut guard.woken);
        drop(guard);
        woken.wake();
        self.lock()
    }

    /// Gives the lock back, then wakes whose appends were answered. Answers whether frames are still
    /// in flight.
    fn leave(&self, mut guard: Guard<'_>) -> bool {
        let more = guard.writer.in_flight() > 0;
        let woken = std::mem::take(&mut guard.woken);
        drop(guard);
        woken.wake();
        more
    }

    /// Whether a frame should be made of what waits, if anything does.
    fn is_due(&self, state: &CommitState) -> bool {
        let in_flight = state.writer.in_flight();
        in_flight == 0
            || (state.writer.has_place() && self.queue.is_worth_a_frame(self.frame_bytes))
    }

    /// Gives the `answered` appenders the time to come back, as long as they do.
    fn gather(&self, answered: usize) {
        if answered < 2 || !self.signal.listened.load(Ordering::Acquire) {
            return;
        }
        let (mut waiting, mut in_vain) = (self.queue.len(), 0);
        while waiting < answered && in_vain < YIELDS_MAX {
            std::thread::yield_now();
            let before = std::mem::replace(&mut waiting, self.queue.len());
            in_vain = if waiting > before { 0 } else { in_vain + 1 };
        }
    }

    /// Makes one frame of what waits, and submits it. Answers whether anything was taken.
    fn fill(&self, state: &mut CommitState) -> bool {
        let (taken, wait_for_place) = self.queue.take(self.frame_bytes);
        state.woken.add_tasks(wait_for_place);
        if taken.is_empty() {
            return false;
        }
        if let Some(refusal) = self.refusal(state) {
            for waiting in taken {
                state.answer(&waiting.completion, Err(refusal.clone()));
            }
            return true;
        }
        let framed: usize = taken.iter().map(Waiting::framed_bytes).sum();
        let padded = align_up(HEADER_BYTES + framed) as u64;
        let starts_segment = framed > 0 && state.writer.must_roll(padded);
        if framed > 0
            && let Err(error) = state.writer.ensure_room(padded, starts_segment)
        {
            let refusal = AppendError::Unavailable(no_room(&error));
            for waiting in taken {
                state.answer(&waiting.completion, Err(refusal.clone()));
            }
            return true;
        }
        let (builder, held, ids) = self.decide_all(state, taken, framed);
        self.submit(state, builder, held, starts_segment);
        // While the disk writes.
        ids.settle(&self.index);
        true
    }

    /// Decides what was taken, in order; places the events of what is written.
    fn decide_all(
        &self,
        state: &mut CommitState,
        taken: Vec<Waiting>,
        framed: usize,
    ) -> (FrameBuilder, Vec<Held>, LateIds) {
        let at = state.writer.at();
        let now = self.log.disk.now().max(at.recorded_at);
        let mut builder = FrameBuilder::new(framed, at.next_position, now);
        let mut held = Vec::with_capacity(taken.len());
        let ids = LateIds::default();
        for waiting in taken {
            let view = Placed::new(&self.log, &self.index, &builder, &ids);
            let result = match decide(&waiting.append, now.as_micros(), &view) {
                Decision::Answer(answer) => answer,
                Decision::Write(places) => {
                    ids.put(&waiting.append, builder.next_position());
                    Ok(self.place(&waiting.append, &places, &mut builder))
                }
            };
            if crate::planted::is("reply-from-overlay") && result.is_err() {
                state.answer(&waiting.completion, result);
            } else {
                held.push((waiting.completion, result));
            }
        }
        (builder, held, ids)
    }

    /// Puts an append into the frame and into the index.
    fn place(
        &self,
        append: &PreparedAppend,
        places: &[StreamPlace],
        builder: &mut FrameBuilder,
    ) -> Appended {
        let first = builder.next_position();
        let mut revisions = Vec::with_capacity(append.events.len());
        let mut lists = Lists::default();
        for (stream, place) in append.streams.iter().zip(places) {
            if stream.events.is_empty() {
                continue;
            }
            let entry = entry_of(&self.index, stream);
            for (offset, index) in stream.events.clone().enumerate() {
                let event = &append.events[index];
                let revision = place.first.get() + offset as u64;
                let position = first + index as u64;
                let effect = event.effect.as_ref();
                self.index.apply(&mut lists, &entry, &event.keys, position, revision, effect);
                revisions.push(nexus_protocol::Revision::new(revision));
            }
        }
        assert_eq!(revisions.len(), append.events.len(), "each event has its revision (I3)");
        builder.add(append.parts(), |index| revisions[index]);
        let next = first + append.events.len() as u64;
        assert_eq!(builder.next_position(), next, "and its position (I3)");
        appended(append, first, places, false)
    }

    fn submit(
        &self,
        state: &mut CommitState,
        builder: FrameBuilder,
        held: Vec<Held>,
        starts_segment: bool,
    ) {
        if builder.is_empty() {
            // Nothing is written; what was seen may still be in flight (I1).
            let last = state.held.back_mut();
            match last.or_else(|| state.awaiting.back_mut().map(|frame| &mut frame.held)) {
                Some(last) => last.extend(held),
                None => state.answer_all(held),
            }
            return;
        }
        let entry = state.replicator.next_entry(state.writer.at().last_entry);
        state.writer.append(builder.finish(starts_segment), entry);
        if crate::planted::is("watermark-before-durable") {
            let raised = self.log.committed.raise(state.writer.at().next_position);
            state.woken.add_tasks(raised);
        }
        if crate::planted::is("ack-before-sync") {
            state.answer_all(held);
            state.held.push_back(Vec::new());
        } else {
            state.held.push_back(held);
        }
        assert_eq!(state.held.len(), state.writer.in_flight(), "a frame in flight has its answers");
    }

    /// Waits for the oldest frame in flight; publishes and answers. Answers how many appends were in
    /// it; who waits for them is still to be woken.
    fn complete(&self, state: &mut CommitState) -> usize {
        match state.writer.complete() {
            Ok(done) => {
                let held = state.held.pop_front().expect("a frame in flight has its answers");
                let answered = held.len();
                let (entry, next_position) = (done.entry, done.next_position);
                let last = state.awaiting.back();
                assert!(last.is_none_or(|last| last.entry < entry), "frames complete in order");
                state.awaiting.push_back(Awaiting { entry, next_position, held });
                if let Some(committed) = state.replicator.on_durable(entry) {
                    self.commit_up_to(state, committed);
                }
                answered
            }
            Err(error) => {
                tracing::error!(error = %describe(&error), "the log is poisoned: open it again");
                let refusal = self.poisoned();
                let awaiting = state.awaiting.drain(..).map(|frame| frame.held);
                let held: Vec<Held> = awaiting.chain(state.held.drain(..)).flatten().collect();
                for (completion, _) in held {
                    state.answer(&completion, Err(refusal.clone()));
                }
                state.writer.abandon();
                state.woken.add_tasks(self.log.poison());
                state.woken.add_tasks(self.queue.take_wakers());
                0
            }
        }
    }

    /// The log is committed up to `entry`: readers see it, and its appenders are answered. Who waits
    /// is still to be woken.
    fn commit_up_to(&self, state: &mut CommitState, entry: EntryId) {
        while state.awaiting.front().is_some_and(|frame| frame.entry <= entry) {
            let frame = state.awaiting.pop_front().expect("just looked at");
            assert!(frame.next_position <= self.log.durable(), "committed is durable here (I1)");
            if frame.next_position > self.log.committed.get() {
                state.woken.add_tasks(self.log.committed.raise(frame.next_position));
            }
            state.answer_all(frame.held);
        }
    }

    /// Why no append can be taken now, if so.
    fn refusal(&self, state: &mut CommitState) -> Option<AppendError> {
        if state.writer.poisoned().is_some() {
            return Some(self.poisoned());
        }
        if self.read_only {
            return Some(AppendError::Unavailable(Unavailable::ReadOnly));
        }
        let (wall, boot) = state.clock;
        let wall_passed = self.log.disk.now().as_micros().saturating_sub(wall);
        let boot_passed = self.log.disk.boot_time().as_micros().saturating_sub(boot);
        let jump = i128::from(wall_passed) - i128::try_from(boot_passed).unwrap_or(i128::MAX);
        let jump = u64::try_from(jump.max(0)).unwrap_or(u64::MAX);
        if jump > CLOCK_JUMP_ALARM_US && !state.alarmed {
            state.alarmed = true;
            tracing::warn!(jump_us = jump, "the wall clock jumped forward");
        }
        (jump > CLOCK_JUMP_REFUSE_US).then_some(AppendError::Unavailable(Unavailable::ClockJump {
            jump_s: jump / 1_000_000,
        }))
    }

    fn poisoned(&self) -> AppendError {
        AppendError::Poisoned { at: self.log.durable().checked_sub(1).map(Position::new) }
    }

    /// The clock that recorded times come from.
    pub(crate) fn now(&self) -> Timestamp {
        self.log.disk.now()
    }
}

/// Settings of a commit path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) frame_bytes: usize,
    pub(crate) queue_appends_max: usize,
    pub(crate) read_only: bool,
}

fn no_room(error: &LogError) -> Unavailable {
    match error {
        LogError::Disk(error) if error.is_full() => Unavailable::DiskFull,
        other => Unavailable::CannotGrow(describe(other)),
    }
}
