//! [`Interpreter`]: what runs tests, which the machine that decides does not.
//!
//! It has the same functions as the machine, with the same bounds, and its time is bounded. It is not bounded in all that
//! the machine is: who runs tests runs those of a bundle that they trust with their own time.

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use regorus::coverage::Report;
use regorus::unstable::{BUILTINS, Expr, Ref, Source, Span};
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, LimitError, Value};

use crate::bundle::BadBundle;
use crate::functions::{self, Function};
use crate::policies::of_interpreter;

/// How long a rule may take.
const TIME_MAX: Duration = Duration::from_secs(2);

/// Steps after which the time is looked at.
const LOOK_AT_TIME_AFTER: NonZeroU32 = NonZeroU32::new(256).expect("more than none");

/// Why a rule has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// What went wrong.
    pub(crate) why: String,
    /// Whether a bound was met, which the machine has too, elsewhere.
    pub(crate) is_bound: bool,
}

/// An interpreter with the rules of a bundle.
pub(crate) struct Interpreter {
    engine: Engine,
    /// What a function would not do: the interpreter forgets it where a rule with `not` calls the function.
    refused: Arc<Mutex<Option<String>>>,
}

impl Interpreter {
    /// An interpreter with the rules that an engine has.
    ///
    /// # Errors
    /// When a function cannot be given its bounds.
    pub(crate) fn new(mut engine: Engine) -> Result<Self, BadBundle> {
        let failed = |error: &dyn std::fmt::Display| BadBundle::Rego(error.to_string());
        // As the machine does, and as OPA does: a function that fails has no value.
        engine.set_strict_builtin_errors(false);
        engine.set_execution_timer_config(ExecutionTimerConfig {
            limit: TIME_MAX,
            check_interval: LOOK_AT_TIME_AFTER,
        });
        let refused = Arc::default();
        let place = place().map_err(|error| failed(&error))?;
        for (name, (_, args)) in BUILTINS.iter() {
            let function = functions::bounded(name);
            add(&mut engine, name, *args, function, &place, &refused).map_err(|e| failed(&e))?;
        }
        add(&mut engine, "print", 1, None, &place, &refused).map_err(|e| failed(&e))?;
        Ok(Self { engine, refused })
    }

    /// Its engine, for what is not asked of rules.
    pub(crate) fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The value of a rule.
    ///
    /// # Errors
    /// Why it has none; one that is undefined has one.
    pub(crate) fn evaluate(&mut self, rule: &str) -> Result<Value, Failed> {
        self.take_refused();
        functions::begin();
        let engine = &mut self.engine;
        // An evaluation begins by forgetting the one before, so that one that ended so does no harm to the next.
        let run = catch_unwind(AssertUnwindSafe(|| engine.eval_rule(rule.to_owned())));
        let said = match run {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let is_bound = error.downcast_ref::<LimitError>().is_some();
                Err(Failed { why: of_interpreter(&error.to_string()), is_bound })
            }
            Err(_) => {
                Err(Failed { why: "the interpreter of rules failed".to_owned(), is_bound: false })
            }
        };
        match self.take_refused() {
            Some(why) => Err(Failed { why, is_bound: true }),
            None => said,
        }
    }

    /// Which lines were run, if that is looked at.
    pub(crate) fn coverage(&self) -> Option<Report> {
        self.engine.get_coverage_report().ok()
    }

    fn take_refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Somewhere that a function may be called from: whoever calls it says where that is.
fn place() -> anyhow::Result<Span> {
    let source = Source::from_contents("function".to_owned(), String::new())?;
    Ok(Span { source, line: 1, col: 1, start: 0, end: 0 })
}

/// Puts a function with bounds before the interpreter's own.
fn add(
    engine: &mut Engine,
    name: &'static str,
    args: u8,
    function: Option<Function>,
    place: &Span,
    refused: &Arc<Mutex<Option<String>>>,
) -> anyhow::Result<()> {
    let expr = Ref::new(Expr::Null { span: place.clone(), value: Value::Null, eidx: 0 });
    let exprs = vec![expr; usize::from(args)];
    let (place, refused) = (place.clone(), Arc::clone(refused));
    let call = move |values: Vec<Value>| {
        let error = match function {
            Some(function) => match function(&place, &exprs, &values, false) {
                Ok(value) => return Ok(value),
                Err(error) if error.downcast_ref::<LimitError>().is_none() => {
                    return Ok(Value::Undefined);
                }
                Err(error) => error,
            },
            None => anyhow::anyhow!("it is not to be called by a policy"),
        };
        let why = format!("`{name}`: {error}");
        let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get_or_insert_with(|| why.clone());
        Err(anyhow::anyhow!(why))
    };
    engine.add_extension(name.to_owned(), args, Box::new(call))
}
