//! The evaluators of a bundle: machines that run its rules, one a core, each used by one thread at a time.

use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use regorus::Value;
use regorus::rvm::{Program, RegoVM};
use regorus::utils::limits::ExecutionTimerConfig;

/// Instructions of a decision, besides those for each event.
const INSTRUCTIONS_MAX: usize = 200_000;

/// Instructions of a decision for each event of a batch.
const INSTRUCTIONS_PER_EVENT: usize = 10_000;

/// How long a decision may take.
const TIME_MAX: Duration = Duration::from_millis(250);

/// Instructions after which the time is looked at.
const LOOK_AT_TIME_AFTER: NonZeroU32 = NonZeroU32::new(1024).expect("more than none");

/// Machines with the program of a bundle.
pub(crate) struct Evaluators {
    program: Arc<Program>,
    data: Value,
    slots: Box<[Mutex<Option<RegoVM>>]>,
}

impl std::fmt::Debug for Evaluators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluators").field("slots", &self.slots.len()).finish_non_exhaustive()
    }
}

impl Evaluators {
    /// As many as there are cores, each made when it is used first.
    pub(crate) fn new(program: Arc<Program>, data: Value) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let slots = (0..cores).map(|_| Mutex::new(None)).collect();
        Self { program, data, slots }
    }

    /// Runs an entry point.
    ///
    /// # Errors
    /// Why it did not come to an end.
    pub(crate) fn run(&self, entry: &str, input: Value, events: usize) -> Result<Value, String> {
        let mut hasher = std::hash::DefaultHasher::new();
        std::thread::current().id().hash(&mut hasher);
        let first = usize::try_from(hasher.finish() % self.slots.len() as u64).unwrap_or(0);
        for at in (first..self.slots.len()).chain(0..first) {
            match self.slots[at].try_lock() {
                Ok(mut slot) => return self.run_in(&mut slot, entry, input, events),
                Err(TryLockError::Poisoned(slot)) => {
                    return self.run_in(&mut slot.into_inner(), entry, input, events);
                }
                Err(TryLockError::WouldBlock) => {}
            }
        }
        // Whoever is in there may be for long: nobody waits for them.
        self.run_in(&mut None, entry, input, events)
    }

    fn run_in(
        &self,
        slot: &mut Option<RegoVM>,
        entry: &str,
        input: Value,
        events: usize,
    ) -> Result<Value, String> {
        let mut vm = match slot.take() {
            Some(vm) => vm,
            None => self.machine()?,
        };
        let more = INSTRUCTIONS_PER_EVENT.saturating_mul(events);
        vm.set_max_instructions(INSTRUCTIONS_MAX.saturating_add(more));
        vm.set_input(input);
        // Bundles come from outside, and the interpreter is somebody else's: what goes wrong in it denies, and a machine
        // that it went wrong in is not used again.
        let run = catch_unwind(AssertUnwindSafe(|| {
            let said = vm.execute_entry_point_by_name(entry).map_err(|error| error.to_string());
            vm.set_input(Value::Undefined);
            (said, vm)
        }));
        let Ok((said, vm)) = run else { return Err("the interpreter of rules failed".to_owned()) };
        if said.is_ok() {
            *slot = Some(vm);
        }
        said
    }

    fn machine(&self) -> Result<RegoVM, String> {
        let mut vm = RegoVM::new();
        vm.load_program(Arc::clone(&self.program));
        vm.set_data(self.data.clone()).map_err(|error| error.to_string())?;
        vm.set_execution_timer_config(Some(ExecutionTimerConfig {
            limit: TIME_MAX,
            check_interval: LOOK_AT_TIME_AFTER,
        }));
        Ok(vm)
    }
}
