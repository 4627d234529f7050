//! The evaluators of a bundle: machines that run its rules, each used by one thread at a time.

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use regorus::Value;
use regorus::rvm::{Program, RegoVM};
use regorus::utils::limits::ExecutionTimerConfig;

use crate::functions;

/// Instructions of a decision, besides those for each event.
const INSTRUCTIONS_MAX: usize = 200_000;

/// Instructions of a decision for each event of a batch.
const INSTRUCTIONS_PER_EVENT: usize = 10_000;

/// How long a decision may take.
const TIME_MAX: Duration = Duration::from_millis(250);

/// Instructions after which the time is looked at.
const LOOK_AT_TIME_AFTER: NonZeroU32 = NonZeroU32::new(16).expect("more than none");

/// Machines that are kept for the next who asks: more threads than cores may be in the midst of a decision.
const KEPT_MAX: usize = 64;

/// Machines with the program of a bundle.
pub(crate) struct Evaluators {
    program: Arc<Program>,
    data: Value,
    /// Those that nobody uses.
    idle: Mutex<Vec<RegoVM>>,
}

impl std::fmt::Debug for Evaluators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Evaluators").finish_non_exhaustive()
    }
}

impl Evaluators {
    /// Each machine is made when one is needed and none is idle.
    pub(crate) fn new(program: Arc<Program>, data: Value) -> Self {
        Self { program, data, idle: Mutex::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<RegoVM>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs an entry point. Nobody waits for a machine: one that is in use may be so for long.
    ///
    /// # Errors
    /// Why it did not come to an end.
    pub(crate) fn run(&self, entry: &str, input: Value, events: usize) -> Result<Value, String> {
        let idle = self.idle().pop();
        let mut vm = idle.map_or_else(|| self.machine(), Ok)?;
        let more = INSTRUCTIONS_PER_EVENT.saturating_mul(events);
        vm.set_max_instructions(INSTRUCTIONS_MAX.saturating_add(more));
        vm.set_input(input);
        functions::begin();
        // Bundles come from outside, and the interpreter is somebody else's: what goes wrong in it denies, and a machine
        // that it went wrong in is not used again.
        let run = catch_unwind(AssertUnwindSafe(|| {
            let said = vm.execute_entry_point_by_name(entry).map_err(|error| error.to_string());
            vm.set_input(Value::Undefined);
            (said, vm)
        }));
        let Ok((said, vm)) = run else { return Err("the interpreter of rules failed".to_owned()) };
        if said.is_ok() {
            let mut idle = self.idle();
            if idle.len() < KEPT_MAX {
                idle.push(vm);
            }
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
