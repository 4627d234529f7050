//! [`lint`]: what is wrong with a bundle, or looks as if it were, before anything is decided by it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use regorus::Engine;
use regorus::unstable::{Expr, Module, Ref, Rule, RuleHead};

use crate::action::Action;
use crate::bundle::{BadBundle, Bundle, BundleFile};
use crate::policies::{Policies, of_interpreter};
use crate::shape;
use crate::syntax::{self, Node, Step};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is decided so, or not what was meant.
    Error,
    /// It may be meant so.
    Warning,
}

impl Severity {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file; empty: the whole bundle.
    pub file: String,
    /// The line, from 1; 0: the whole file.
    pub line: u32,
    /// How bad it is.
    pub severity: Severity,
    /// A word for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// What is wrong with a bundle, or looks as if it were: errors first, then by file and line.
pub fn lint(bundle: &Bundle) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut modules = Vec::new();
    for file in bundle.files().filter(|file| file.is_rego()) {
        match read(&file) {
            Ok(module) => modules.push(module),
            Err(why) => findings.push(finding_of(&why)),
        }
    }
    // What does not read does not compile, and would be said twice.
    if findings.is_empty()
        && let Err(why) = Policies::compile(bundle)
    {
        findings.push(finding_of(&why));
    }
    let rules: Vec<_> = modules.iter().filter(|it| !is_test(it)).collect();
    actions(&rules, &mut findings);
    rules.iter().for_each(|module| inputs(module, &mut findings));
    rules.iter().for_each(|module| members(module, &mut findings));
    if !bundle.files().any(|file| file.is_test()) {
        let message = "no file has tests: put rules named `test_…` into files named `…_test.rego`";
        findings.push(warning("", 0, "no_tests", message.to_owned()));
    }
    findings.sort_by(|a, b| {
        (a.severity, &a.file, a.line, a.code).cmp(&(b.severity, &b.file, b.line, b.code))
    });
    findings
}

fn is_test(module: &Module) -> bool {
    syntax::file(module).ends_with("_test.rego")
}

fn error(file: &str, line: u32, code: &'static str, message: String) -> Finding {
    Finding { file: file.to_owned(), line, severity: Severity::Error, code, message }
}

fn warning(file: &str, line: u32, code: &'static str, message: String) -> Finding {
    Finding { severity: Severity::Warning, ..error(file, line, code, message) }
}

/// Reads one file.
fn read(file: &BundleFile<'_>) -> Result<Ref<Module>, BadBundle> {
    shape::check(file)?;
    let read = catch_unwind(AssertUnwindSafe(|| {
        let mut engine = Engine::new();
        engine.add_policy(file.name.to_owned(), file.text.to_owned())?;
        anyhow::Ok(engine.get_modules().first().cloned())
    }));
    match read {
        Ok(Ok(Some(module))) => Ok(module),
        Ok(Err(error)) => Err(BadBundle::Rego(of_interpreter(&error.to_string()))),
        Ok(Ok(None)) | Err(_) => {
            Err(BadBundle::Rego(format!("{}: the reader of rules failed", file.name)))
        }
    }
}

/// What keeps a bundle from being compiled, with where that is.
fn finding_of(why: &BadBundle) -> Finding {
    let message = why.to_string();
    let (file, line) = place(&message).unwrap_or_default();
    match why {
        BadBundle::Function { file, line, .. } => error(file, *line, "function", message),
        BadBundle::Rego(_) => error(&file, line, "rego", message),
        BadBundle::TooComplex(_) => error(&file, line, "too_complex", message),
        BadBundle::NoRule => error("", 0, "no_rule", message),
        BadBundle::UnknownAction(_) => error("", 0, "unknown_action", message),
        _ => error("", 0, "bundle", message),
    }
}

/// The file and line that a message of the compiler begins with: `--> FILE:LINE:COLUMN` or `FILE:LINE: …`.
fn place(message: &str) -> Option<(String, u32)> {
    let first = message.lines().next()?;
    let mut parts = first.strip_prefix("--> ").unwrap_or(first).split(':');
    let file = parts.next().filter(|file| file.ends_with(".rego"))?;
    Some((file.to_owned(), parts.next()?.parse().ok()?))
}

/// What decides about an action.
#[derive(Default)]
struct Decides<'a> {
    file: &'a str,
    line: Option<u32>,
}

/// Looks at which actions have rules.
fn actions(rules: &[&Ref<Module>], findings: &mut Vec<Finding>) {
    let mut known = BTreeMap::<Action, Decides<'_>>::new();
    for module in rules {
        let package = syntax::package(module);
        let [nexus, action] = package.as_slice() else { continue };
        let Ok(action) = action.parse() else { continue };
        if nexus != "nexus" {
            continue;
        }
        let decides = known.entry(action).or_default();
        if decides.line.is_none() {
            decides.file = syntax::file(module);
        }
        let rule = module.policy.iter().find(|it| syntax::name(it).names == ["decision"]);
        decides.line = decides.line.or(rule.map(|rule| rule.span().line));
    }
    let all = rules_of(rules);
    for (action, Decides { file, line }) in &known {
        let path = ["nexus", action.as_str(), "decision"].map(str::to_owned);
        match line {
            None => {
                let message = format!(
                    "package `nexus.{action}` has no rule `decision`, so that it decides nothing"
                );
                findings.push(warning(file, 0, "no_decision", message));
            }
            Some(line) if !is_always(&path, &all, 0) => {
                let (path, file, line) = leads_to(&path, &all, (file, *line));
                let message = format!(
                    "`data.{path}` has no default: where no rule holds it is undefined, which denies without a reason of yours"
                );
                let found = warning(file, line, "no_default", message);
                if !findings.contains(&found) {
                    findings.push(found);
                }
            }
            Some(_) => {}
        }
    }
    let is_denied = |it: &&Action| known.get(*it).is_none_or(|decides| decides.line.is_none());
    let denied: Vec<_> = Action::ALL.iter().filter(is_denied).map(|it| it.as_str()).collect();
    if !denied.is_empty() && denied.len() < Action::ALL.len() {
        let message = format!("no rule decides about {}: all of it is denied", denied.join(", "));
        findings.push(warning("", 0, "denied", message));
    }
}

/// The rule that a rule leaves it to, with where that is: as far as there is one alone.
fn leads_to<'a>(
    path: &[String],
    rules: &Rules<'a>,
    mut place: (&'a str, u32),
) -> (String, &'a str, u32) {
    let mut path = path.to_vec();
    for _ in 0..RULES_DEEP_MAX {
        let Some([(module, rule)]) = rules.get(&path).map(Vec::as_slice) else { break };
        let Rule::Spec { head: RuleHead::Compr { assign: Some(assign), .. }, bodies, .. } =
            rule.as_ref()
        else {
            break;
        };
        if !bodies.iter().all(|body| body.query.stmts.is_empty()) {
            break;
        }
        let Some(next) = full_path(&assign.value, module) else { break };
        let Some((module, rule)) = rules.get(&next).and_then(|all| all.first()) else { break };
        place = (syntax::file(module), rule.span().line);
        path = next;
    }
    (path.join("."), place.0, place.1)
}

/// The rules of a bundle, by their paths behind `data`.
type Rules<'a> = BTreeMap<Vec<String>, Vec<(&'a Ref<Module>, &'a Ref<Rule>)>>;

fn rules_of<'a>(modules: &[&'a Ref<Module>]) -> Rules<'a> {
    let mut rules = Rules::new();
    for module in modules {
        for rule in &module.policy {
            let name = syntax::name(rule);
            if name.is_whole {
                let path = [syntax::package(module), name.names].concat();
                rules.entry(path).or_default().push((module, rule));
            }
        }
    }
    rules
}

/// Most rules that are looked into to find whether one has a value.
const RULES_DEEP_MAX: usize = 8;

/// Whether a rule has a value whatever the input is; where that is not sure, it has none.
fn is_always(path: &[String], rules: &Rules<'_>, deep: usize) -> bool {
    deep < RULES_DEEP_MAX
        && rules.get(path).into_iter().flatten().any(|(module, rule)| match rule.as_ref() {
            Rule::Default { args, .. } => args.is_empty(),
            Rule::Spec { head: RuleHead::Compr { assign, .. }, bodies, .. } => {
                bodies.iter().all(|body| body.query.stmts.is_empty())
                    && assign.as_ref().is_some_and(|it| has_value(&it.value, module, rules, deep))
            }
            Rule::Spec { head: RuleHead::Set { .. }, .. } => true,
            Rule::Spec { head: RuleHead::Func { .. }, .. } => false,
        })
}

/// The same, of an expression.
fn has_value(expr: &Expr, module: &Module, rules: &Rules<'_>, deep: usize) -> bool {
    match expr {
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. }
        | Expr::ArrayCompr { .. }
        | Expr::SetCompr { .. }
        | Expr::ObjectCompr { .. } => true,
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            items.iter().all(|it| has_value(it, module, rules, deep))
        }
        Expr::Object { fields, .. } => fields.iter().all(|(_, key, value)| {
            has_value(key, module, rules, deep) && has_value(value, module, rules, deep)
        }),
        Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
            full_path(expr, module).is_some_and(|path| is_always(&path, rules, deep + 1))
        }
        _ => false,
    }
}

/// The path behind `data` that an expression is, if it is one without unknown steps.
fn full_path(expr: &Expr, module: &Module) -> Option<Vec<String>> {
    let path = syntax::path(expr).filter(|path| path.is_whole)?;
    let (root, rest) = path.names.split_first()?;
    Some(match syntax::imports(module).remove(root) {
        _ if root == "data" => rest.to_vec(),
        Some(import) => [import.as_slice(), rest].concat(),
        None => [syntax::package(module), path.names].concat(),
    })
}

/// What is in the input document.
enum Shape {
    /// Members of these names.
    Members(&'static [(&'static str, Shape)]),
    /// Elements.
    Elements(&'static Shape),
    /// A text or a number.
    Scalar,
    /// Whatever somebody put there.
    Anything,
}

use Shape::{Anything, Elements, Members, Scalar};

const EVENT: Shape = Members(&[
    ("stream", Scalar),
    ("category", Scalar),
    ("type", Scalar),
    ("content_type", Scalar),
    ("tags", Elements(&Scalar)),
    ("data", Anything),
]);

const INPUT: Shape = Members(&[
    ("v", Scalar),
    ("action", Scalar),
    (
        "subject",
        Members(&[
            ("id", Scalar),
            ("kind", Scalar),
            ("issuer", Scalar),
            ("roles", Elements(&Scalar)),
            ("claims", Anything),
        ]),
    ),
    (
        "resource",
        Members(&[
            ("namespace", Scalar),
            ("operation", Scalar),
            ("reach", Scalar),
            ("stream", Scalar),
            ("category", Scalar),
            ("streams", Elements(&Scalar)),
            ("name", Scalar),
            ("as_of", Scalar),
            ("system", Scalar),
        ]),
    ),
    ("events", Elements(&EVENT)),
    ("env", Members(&[("now", Scalar), ("door", Scalar)])),
]);

/// Looks for paths into the input that lead nowhere.
fn inputs(module: &Module, findings: &mut Vec<Finding>) {
    let mut said = BTreeSet::new();
    let mut look = |expr: &Expr| {
        let Some(steps) = syntax::steps(expr) else { return };
        let Some((Step::Name(root), steps)) = steps.split_first() else { return };
        let Some(why) = leads_nowhere(steps).filter(|_| root == "input") else { return };
        let line = expr.span().line;
        if said.insert((line, why.clone())) {
            findings.push(error(syntax::file(module), line, "unknown_input", why));
        }
    };
    module.imports.iter().for_each(|import| look(&import.refr));
    syntax::walk(module, &mut |node| {
        if let Node::Expr(expr) = node {
            look(expr);
        }
    });
}

/// Why there is never anything at these steps into the input; `None`: there may be.
fn leads_nowhere(steps: &[Step]) -> Option<String> {
    let (mut shape, mut path) = (&INPUT, "input".to_owned());
    for step in steps {
        shape = match (shape, step) {
            (Anything, _) | (Members(_), Step::Any) => return None,
            (Members(members), Step::Name(name)) => {
                let Some((_, inner)) = members.iter().find(|(it, _)| it == name) else {
                    let names: Vec<_> = members.iter().map(|(name, _)| *name).collect();
                    return Some(format!(
                        "`{path}.{name}` is never there: `{path}` has {}",
                        names.join(", ")
                    ));
                };
                path = format!("{path}.{name}");
                inner
            }
            (Elements(element), Step::Any) => {
                path.push_str("[_]");
                element
            }
            (Elements(_), Step::Name(name)) => {
                return Some(format!(
                    "`{path}.{name}` is never there: `{path}` is an array, so write `{name:?} in {path}`"
                ));
            }
            (Scalar, _) => {
                return Some(format!("`{path}` has nothing in it: it is a text or number"));
            }
        };
    }
    None
}

/// Looks for members of decisions that are misspelled.
fn members(module: &Module, findings: &mut Vec<Finding>) {
    const DECISION: &[&str] = &["allow", "reasons", "obligations"];
    const OBLIGATIONS: &[&str] = &["tags_all", "types_any", "mask", "log"];
    let mut check = |expr: &Expr, of: &str, known: &[&str]| {
        for (name, key, _) in members_of(expr) {
            if !known.contains(&name) {
                let message = format!(
                    "{of} has no member `{name}`: it has {}, and others deny",
                    known.join(", ")
                );
                findings.push(error(
                    syntax::file(module),
                    key.span().line,
                    "unknown_member",
                    message,
                ));
            }
        }
    };
    syntax::walk(module, &mut |node| {
        let Node::Expr(expr) = node else { return };
        if !members_of(expr).any(|(name, ..)| name == "allow") {
            return;
        }
        check(expr, "a decision", DECISION);
        for (name, _, value) in members_of(expr) {
            if name == "obligations" {
                check(value, "what is demanded", OBLIGATIONS);
            }
        }
    });
}

/// The members of an object that have a name for sure.
fn members_of(expr: &Expr) -> impl Iterator<Item = (&str, &Expr, &Expr)> {
    let fields = match expr {
        Expr::Object { fields, .. } => fields.as_slice(),
        _ => &[],
    };
    fields.iter().filter_map(|(_, key, value)| match key.as_ref() {
        Expr::String { value: regorus::Value::String(name), .. } => {
            Some((&**name, key.as_ref(), value.as_ref()))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests;
