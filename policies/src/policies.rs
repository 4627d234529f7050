//! [`Policies`]: a bundle that is compiled, and what it decides.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::instructions::BuiltinCallParams;
use regorus::rvm::program::BuiltinInfo;
use regorus::rvm::{Instruction, Program};
use regorus::unstable::{Module, Ref};
use regorus::{CompiledPolicy, Engine, Value};

use crate::action::Action;
use crate::bundle::{BadBundle, Bundle, Fingerprint};
use crate::calls;
use crate::decision::Decision;
use crate::evaluator::Evaluators;
use crate::functions;
use crate::input::Asked;
use crate::reads::Reads;
use crate::shape;
use crate::syntax;
use crate::undefined;

/// Decisions that are remembered; beyond that all are forgotten.
const REMEMBERED_MAX: usize = 16 * 1024;

/// What of `input.resource` tells questions apart for every bundle.
const ALWAYS: &[&str] = &["namespace", "operation", "reach"];

/// The code of a denial because a rule did not come to an end.
const RULE_FAILED: &str = "rule_failed";

/// The rules of a bundle, ready to be asked.
#[derive(Debug)]
pub struct Policies {
    fingerprint: Fingerprint,
    decides: BTreeSet<Action>,
    reads: Reads,
    with_resource: bool,
    evaluators: Evaluators,
    remembered: RwLock<HashMap<[u8; 32], Arc<Decision>>>,
}

/// Data of an event that rules would have to look into and cannot.
pub type Unreadable = usize;

impl Policies {
    /// Makes rules ready.
    ///
    /// # Errors
    /// What is wrong with them, and where.
    pub fn compile(bundle: &Bundle) -> Result<Self, BadBundle> {
        // The compiler is somebody else's, and bundles come from outside.
        let compiled = catch_unwind(AssertUnwindSafe(|| Self::compile_at_once(bundle)));
        let failed = || BadBundle::Rego("the compiler of rules failed".to_owned());
        compiled.unwrap_or_else(|_| Err(failed()))
    }

    fn compile_at_once(bundle: &Bundle) -> Result<Self, BadBundle> {
        let mut engine = engine(bundle, |file| !file.is_test())?;
        let decides = decides(&engine)?;
        check_whole(engine.get_modules())?;
        let program = program(&mut engine, &decides)?;
        let mut reads = Reads::default();
        bundle.files().filter(|it| it.is_rego() && !it.is_test()).for_each(|it| reads.add(it.text));
        let data = bundle.data()?.map_or_else(Value::new_object, Value::from);
        Ok(Self {
            fingerprint: bundle.fingerprint(),
            decides,
            with_resource: reads.has_beyond("resource", ALWAYS),
            reads,
            evaluators: Evaluators::new(Arc::new(program), data),
            remembered: RwLock::default(),
        })
    }

    /// What tells its bundle from every other one.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The actions that it has a rule for; all others are denied.
    pub fn decides(&self) -> impl Iterator<Item = Action> {
        self.decides.iter().copied()
    }

    /// Whether answers depend on what is in requests: on names, events, or the time.
    pub fn looks_into_requests(&self) -> bool {
        self.with_resource || self.reads.has("events") || self.reads.has("env.now")
    }

    /// The input document of this, for the record: with events, also where the rules look at none, as others may. Without them
    /// where they cannot be read.
    pub fn input(&self, asked: &Asked<'_>) -> serde_json::Value {
        let document = asked.document(true);
        let document = document.or_else(|_| asked.document(false));
        let text = document.ok().and_then(|document| document.to_json_str().ok());
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    /// Whether the answer to this follows from its headers alone, so that it need not be asked twice.
    fn is_remembered(&self, asked: &Asked<'_>) -> bool {
        // What an append names is in no key.
        let looks_into_append = || self.reads.has("events") || self.reads.has("resource.streams");
        !self.reads.has("env.now") && (asked.append.is_none() || !looks_into_append())
    }

    /// What the rules say. Never fails: what goes wrong denies, and says why.
    pub fn decide(&self, asked: &Asked<'_>) -> Arc<Decision> {
        if !self.is_remembered(asked) {
            return Arc::new(self.evaluate(asked));
        }
        let key = asked.key(self.with_resource);
        {
            let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(decision) = remembered.get(&key) {
                return Arc::clone(decision);
            }
        }
        let decision = Arc::new(self.evaluate(asked));
        // What took too long once may not the next time.
        if decision.reasons.first().is_some_and(|it| it.code == RULE_FAILED) {
            return decision;
        }
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(key, Arc::clone(&decision));
        decision
    }

    /// The same, by running the rules in any case.
    pub fn evaluate(&self, asked: &Asked<'_>) -> Decision {
        let action = asked.action;
        if !self.decides.contains(&action) {
            return Decision::deny("no_rule", format!("no rule `{}` is there", action.rule()));
        }
        let document = match asked.document(self.reads.has("events")) {
            Ok(document) => document,
            Err(event) => {
                let msg = format!("event {event} says that it is JSON, and its data are not");
                return Decision::deny("unreadable_event", msg);
            }
        };
        let events = asked.append.map_or(0, |append| append.event_count());
        self.evaluate_document(action, document, events)
    }

    /// What the rule of an action says of a document, as it says it.
    ///
    /// # Errors
    /// Why it did not come to an end.
    pub(crate) fn say(
        &self,
        action: Action,
        document: Value,
        events: usize,
    ) -> Result<Value, String> {
        self.evaluators.run(action.rule(), document, events)
    }

    /// What the rules say of a document.
    pub(crate) fn evaluate_document(
        &self,
        action: Action,
        document: Value,
        events: usize,
    ) -> Decision {
        match self.say(action, document, events) {
            Ok(value) => read(action, &value),
            Err(why) => {
                Decision::deny(RULE_FAILED, format!("rule `{}` failed: {why}", action.rule()))
            }
        }
    }

    /// What the rules say of an input that somebody wrote, for whoever tries them out.
    ///
    /// # Errors
    /// When it names no action.
    pub fn evaluate_json(&self, input: &serde_json::Value) -> Result<Decision, String> {
        let action = input.get("action").and_then(serde_json::Value::as_str).unwrap_or_default();
        let action: Action =
            action.parse().map_err(|error| format!("`action` of the input: {error}"))?;
        if !self.decides.contains(&action) {
            let msg = format!("no rule `{}` is there", action.rule());
            return Ok(Decision::deny("no_rule", msg));
        }
        let events = input.get("events").and_then(serde_json::Value::as_array);
        let count = events.map_or(0, Vec::len);
        let decision = self.evaluate_document(action, Value::from(input.clone()), count);
        if action == Action::Append && decision.allow {
            for (number, event) in events.into_iter().flatten().enumerate() {
                if !admits(&decision, event) {
                    return Ok(Decision::not_covered(number, &decision.obligations));
                }
            }
        }
        Ok(decision)
    }
}

/// Whether an event of an input is of those that may be appended.
fn admits(decision: &Decision, event: &serde_json::Value) -> bool {
    let event_type = event.get("type").and_then(serde_json::Value::as_str).unwrap_or_default();
    let tags = event.get("tags").and_then(serde_json::Value::as_array);
    decision
        .obligations
        .admits(event_type, |tag| tags.into_iter().flatten().any(|it| it.as_str() == Some(tag)))
}

/// What a rule said, as a decision.
pub(crate) fn read(action: Action, value: &Value) -> Decision {
    if *value == Value::Undefined {
        let msg = format!("rule `{}` says nothing about this", action.rule());
        return Decision::deny("undecided", msg);
    }
    Decision::of(value).unwrap_or_else(|why| {
        let msg = format!("rule `{}` says what is no decision: {why}", action.rule());
        Decision::deny("not_a_decision", msg)
    })
}

/// An interpreter with some files of a bundle.
pub(crate) fn engine(
    bundle: &Bundle,
    takes: impl Fn(&crate::BundleFile<'_>) -> bool,
) -> Result<Engine, BadBundle> {
    let mut engine = Engine::new();
    for file in bundle.files().filter(|file| file.is_rego() && takes(file)) {
        shape::check(&file)?;
        let added = engine.add_policy(file.name.to_owned(), file.text.to_owned());
        added.map_err(|error| BadBundle::Rego(of_interpreter(&error.to_string())))?;
    }
    calls::check(engine.get_modules())?;
    if let Some(data) = bundle.data()? {
        let added = engine.add_data(Value::from(data));
        added.map_err(|error| BadBundle::Data(error.to_string()))?;
    }
    Ok(engine)
}

/// What the interpreter says, without the lines that it leaves empty.
pub(crate) fn of_interpreter(said: &str) -> String {
    let lines: Vec<_> = said.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

/// The actions that there are rules for.
fn decides(engine: &Engine) -> Result<BTreeSet<Action>, BadBundle> {
    let packages = engine.get_policy_package_components();
    let packages = packages.map_err(|error| BadBundle::Rego(error.to_string()))?;
    let mut decides = BTreeSet::new();
    for package in packages {
        let [nexus, name] = package.components.as_slice() else { continue };
        if nexus != "nexus" {
            continue;
        }
        let has_rule = engine.has_declared_rule_rooted_at(&package.source_file, "decision");
        if !has_rule.map_err(|error| BadBundle::Rego(error.to_string()))? {
            continue;
        }
        match name.parse() {
            Ok(action) => decides.insert(action),
            Err(_) => return Err(BadBundle::UnknownAction(name.clone())),
        };
    }
    match decides.is_empty() {
        true => Err(BadBundle::NoRule),
        false => Ok(decides),
    }
}

/// Refuses decisions that are written in parts (`decision.allow := true`): no single rule has them.
fn check_whole(modules: &[Ref<Module>]) -> Result<(), BadBundle> {
    for module in modules {
        let package = syntax::package(module);
        let in_parts = module.policy.iter().find(|rule| {
            let name = syntax::name(rule);
            let is_decision = name.names.first().is_some_and(|it| it == "decision");
            is_decision && (name.names.len() > 1 || !name.is_whole)
        });
        if let (Some(rule), [nexus, _]) = (in_parts, package.as_slice())
            && nexus == "nexus"
        {
            let (file, line) = (syntax::file(module), rule.span().line);
            let why =
                "`decision` is written in parts: write it as one object, as in `decision := {…}`";
            return Err(BadBundle::Rego(format!("{file}:{line}: {why}")));
        }
    }
    Ok(())
}

/// The program of the rules that decide, with the functions that they may call.
fn program(engine: &mut Engine, decides: &BTreeSet<Action>) -> Result<Program, BadBundle> {
    let entries: Vec<&str> = decides.iter().map(|action| action.rule()).collect();
    let first = entries.first().copied().unwrap_or_default();
    let failed = |said: String| BadBundle::Rego(of_interpreter(&said));
    let compiled: CompiledPolicy =
        engine.compile_with_entrypoint(&first.into()).map_err(|error| failed(error.to_string()))?;
    let program = Compiler::compile_from_policy(&compiled, &entries);
    let program = program.map_err(|error| failed(error.to_string()))?;
    let mut program = Arc::unwrap_or_clone(program);
    let mut functions = Vec::with_capacity(program.builtin_info_table.len());
    for (info, resolved) in program.builtin_info_table.iter().zip(&program.resolved_builtins) {
        let Some(function) = functions::bounded(&info.name) else {
            let (file, line) = place_of(engine, &info.name);
            return Err(BadBundle::Function { file, line, function: info.name.clone() });
        };
        functions.push((function, resolved.1));
    }
    program.resolved_builtins = functions;
    bound_products(&mut program);
    undefined::end_bodies(&mut program)?;
    Ok(program)
}

/// Makes each `*` a call: a product has as many digits as its factors together, so that a few lines of rules can make one
/// that nothing is left for.
fn bound_products(program: &mut Program) {
    let info = BuiltinInfo { name: "*".to_owned(), num_args: 2 };
    let (index, mut is_used) = (program.builtin_info_table.len(), false);
    let Ok(builtin_index) = u16::try_from(index) else { return };
    for at in 0..program.instructions.len() {
        let Instruction::Mul { dest, left, right } = program.instructions[at] else { continue };
        let mut args = [0; 8];
        [args[0], args[1]] = [left, right];
        let params = BuiltinCallParams { dest, builtin_index, num_args: 2, args };
        let params_index = program.add_builtin_call_params(params);
        program.instructions[at] = Instruction::BuiltinCall { params_index };
        is_used = true;
    }
    if is_used {
        program.builtin_info_table.push(info);
        program.resolved_builtins.push((functions::multiply, 2));
    }
}

/// Where a name stands first.
fn place_of(engine: &Engine, name: &str) -> (String, u32) {
    let sources = engine.get_policies().unwrap_or_default();
    for source in sources {
        let found = source.contents().lines().zip(1..).find(|(line, _)| line.contains(name));
        if let Some((_, line)) = found {
            return (source.file().clone(), line);
        }
    }
    (String::new(), 0)
}
