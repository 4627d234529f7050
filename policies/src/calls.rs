//! What rules call, and which need which: none may need itself, and no chain of them may be long.
//!
//! A rule runs inside the one that needs it, so one that needs itself would go on until the stack of its thread ended, and
//! the process with it. What is needed is found by names: a name of a rule counts as that rule, even where it is one of a
//! variable, and a path with an unknown step counts as all rules that it may lead to. So more may be found than there is,
//! and never less.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use regorus::unstable::{BUILTINS, Expr, Module, Ref, Rule, RuleHead};

use crate::bundle::BadBundle;
use crate::functions;
use crate::syntax::{self, Node, Step};

/// Longest chain of rules that need each other.
const CHAIN_MAX: usize = 32;

/// Names behind `data`.
type Names = Vec<String>;

/// Steps behind `data`.
type Steps = Vec<Step>;

/// Looks at what rules call, and how they need each other.
///
/// # Errors
/// When one calls what it may not, or needs itself, or a chain is too long.
pub(crate) fn check(modules: &[Ref<Module>]) -> Result<(), BadBundle> {
    let mut needs = BTreeMap::<Names, BTreeSet<Steps>>::new();
    for module in modules {
        check_functions(module)?;
        let package = syntax::package(module);
        let imports = syntax::imports(module);
        for rule in &module.policy {
            let mut rule_names = package.clone();
            rule_names.extend(syntax::name(rule).names);
            add(rule, &package, &imports, needs.entry(rule_names).or_default());
        }
    }
    let mut chains =
        Chains { needs: &needs, open: Vec::new(), rules: HashMap::new(), paths: HashMap::new() };
    needs.keys().try_for_each(|rule| chains.of_rule(rule).map(drop))
}

/// Looks at which functions are called, whether or not a decision leads there.
///
/// # Errors
/// Where one is called that no policy may call.
fn check_functions(module: &Module) -> Result<(), BadBundle> {
    let imports = syntax::imports(module);
    let own: BTreeSet<String> = module
        .policy
        .iter()
        .filter_map(|rule| syntax::name(rule).names.into_iter().next())
        .collect();
    let mut refused = None;
    syntax::walk(module, &mut |node| {
        let Node::Expr(Expr::Call { span, fcn, .. }) = node else { return };
        let Some(path) = syntax::path(fcn) else { return };
        let root = path.names.first().map(String::as_str).unwrap_or_default();
        if root == "data" || imports.contains_key(root) || own.contains(root) {
            return;
        }
        let name = path.names.join(".");
        // What else has a dot is of a family of functions, be it one that is not built in.
        let is_function = name.contains('.') || name == "print" || BUILTINS.contains_key(&*name);
        if is_function && functions::bounded(&name).is_none() {
            refused.get_or_insert((name, span.line));
        }
    });
    match refused {
        Some((function, line)) => {
            Err(BadBundle::Function { file: syntax::file(module).to_owned(), line, function })
        }
        None => Ok(()),
    }
}

/// Adds the paths that a rule looks at.
fn add(
    rule: &Rule,
    package: &[String],
    imports: &BTreeMap<String, Names>,
    needs: &mut BTreeSet<Steps>,
) {
    // These are of the whole rule, so that their names are no others'.
    let args: BTreeSet<&str> = match rule {
        Rule::Spec { head: RuleHead::Func { args, .. }, .. } => {
            args.iter().map(|arg| arg.span().text()).collect()
        }
        _ => BTreeSet::new(),
    };
    let behind = |names: &[String], rest: &[Step]| -> Steps {
        names.iter().cloned().map(Step::Name).chain(rest.iter().cloned()).collect()
    };
    syntax::walk_rule(rule, &mut |node| {
        let Node::Expr(expr) = node else { return };
        let Some(steps) = syntax::steps(expr) else { return };
        let Some((Step::Name(root), rest)) = steps.split_first() else { return };
        match root.as_str() {
            "input" => {}
            "data" => drop(needs.insert(rest.to_vec())),
            root if args.contains(root) => {}
            root => {
                if let Some(import) = imports.get(root) {
                    needs.insert(behind(import, rest));
                }
                needs.insert(behind(package, &steps));
            }
        }
    });
}

/// How long the chains are that begin somewhere.
struct Chains<'a> {
    needs: &'a BTreeMap<Names, BTreeSet<Steps>>,
    /// The rules between the first one and the one that is looked at.
    open: Vec<&'a Names>,
    rules: HashMap<&'a Names, usize>,
    paths: HashMap<&'a Steps, usize>,
}

impl<'a> Chains<'a> {
    fn of_rule(&mut self, rule: &'a Names) -> Result<usize, BadBundle> {
        if let Some(length) = self.rules.get(rule) {
            return Ok(*length);
        }
        if self.open.contains(&rule) {
            let why = format!("rule `{}` needs itself, by way of {}", shown(rule), self.shown());
            return Err(BadBundle::TooComplex(why));
        }
        self.open.push(rule);
        let mut length = 0;
        for path in self.needs.get(rule).into_iter().flatten() {
            length = length.max(self.of_path(path)?);
        }
        length += 1;
        if length > CHAIN_MAX || self.open.len() > CHAIN_MAX {
            let why = format!(
                "rule `{}` needs more than {CHAIN_MAX} others, each by way of the one before",
                shown(self.open.first().copied().unwrap_or(rule))
            );
            return Err(BadBundle::TooComplex(why));
        }
        self.open.pop();
        self.rules.insert(rule, length);
        Ok(length)
    }

    fn of_path(&mut self, path: &'a Steps) -> Result<usize, BadBundle> {
        if self.open.len() > CHAIN_MAX {
            return Ok(0);
        }
        if let Some(length) = self.paths.get(path) {
            return Ok(*length);
        }
        let needs = self.needs;
        let names = path.iter().map_while(|step| match step {
            Step::Name(name) => Some(name.clone()),
            Step::Any => None,
        });
        let names: Names = names.collect();
        let mut length = 0;
        // Rules whose value the path leads into, and rules that it leads to.
        for count in 1..names.len() {
            if let Some((rule, _)) = needs.get_key_value(&names[..count]) {
                length = length.max(self.of_rule(rule)?);
            }
        }
        let from = (Bound::Included(names.as_slice()), Bound::Unbounded);
        let rules =
            needs.range::<[String], _>(from).take_while(|(rule, _)| rule.starts_with(&names));
        for (rule, _) in rules.filter(|(rule, _)| may_be(path, rule)) {
            length = length.max(self.of_rule(rule)?);
        }
        self.paths.insert(path, length);
        Ok(length)
    }

    fn shown(&self) -> String {
        let names: Vec<_> = self.open.iter().map(|rule| format!("`{}`", shown(rule))).collect();
        names.join(", ")
    }
}

/// Whether a path may lead to a rule, or into its value.
fn may_be(path: &[Step], rule: &[String]) -> bool {
    path.iter().zip(rule).all(|(step, name)| match step {
        Step::Name(step) => step == name,
        Step::Any => true,
    })
}

fn shown(rule: &Names) -> String {
    format!("data.{}", rule.join("."))
}

#[cfg(test)]
mod tests {
    use regorus::Engine;

    use super::*;

    fn check(text: &str) -> Result<(), String> {
        let mut engine = Engine::new();
        for (number, text) in text.split("---\n").enumerate() {
            engine.add_policy(format!("{number}.rego"), text.to_owned()).unwrap();
        }
        super::check(engine.get_modules()).map_err(|error| error.to_string())
    }

    #[test]
    fn rules_that_need_themselves_are_refused() {
        for text in [
            "package a\nx := y\ny := x\n",
            "package a\nf(x) := f(x - 1)\n",
            "package a\nf(x) := 1 if g(x)\ng(y) if f(y) > 1\n",
            "package a\nx := data.a[input.b]\n",
            "package a\nx := [y | y := data.a.x]\n",
            "package a\nx contains y if { every z in x { z == y } }\n",
            "package a\nx := data.b.y\n---\npackage b\nimport data.a\ny := a.x\n",
            "package a\nx := data.b.y\n---\npackage b\nimport data.a.x as z\ny := {\"k\": z}\n",
            "package a\nx := data[input.b].x\n",
            "package a\nx.y := data.a.x.z\nx.z := data.a.x.y\n",
            "package a\nx := 1 if false else := 2 if x\n",
        ] {
            let said = check(text).unwrap_err();
            assert!(said.contains("needs itself"), "{text}: {said}");
        }
    }

    #[test]
    fn functions_that_no_policy_may_call_are_refused() {
        for (text, function, line) in [
            ("package a\nx if {\n\thttp.send({})\n}\n", "http.send", 3),
            ("package a\n# time.now_ns\nx := [y | y := time.now_ns()]\n", "time.now_ns", 3),
            ("package a\nf(x) := 1 if print(x)\n", "print", 2),
        ] {
            let said = check(text);
            let said = said.unwrap_err();
            assert!(said.starts_with(&format!("0.rego:{line}: `{function}`")), "{text}: {said}");
        }
        for text in [
            "package a\nprint(x) := x\ny := print(1)\n",
            "package a\nimport data.http\ny := http.send(1)\n",
            "package a\ny := data.http.send(1)\nz := nowhere(1)\n",
            "package a\ny := time.clock(1)\nz := count(\"http.send()\")\n",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn rules_that_need_others_are_taken() {
        for text in [
            "package a\nx := y\ny := z\nz := input.x\n",
            "package a\nf(x) := x + 1\nx := f(f(1))\n",
            "package a\nx := data.b[input.c].d\n---\npackage b\ny := 1\n",
            "package a\nx.y := 1\nx.z := data.a.x.y\n",
            "package nexus.read\nimport data.lib\ndecision := lib.d\n---\npackage lib\nd := data.roles\n",
            "package nexus.read_test\nx := data.nexus[input.y].decision\n---\npackage nexus.read\ndecision := 1\n",
            "package nexus.read\ndecision := data.nexus.append.decision\n---\npackage nexus.append\ndecision := 1\n",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn long_chains_are_refused() {
        let chain = |rules: usize| {
            let rules = (1..rules).map(|at| format!("r{at} := r{}\n", at - 1));
            check(&format!("package a\nr0 := 1\n{}", rules.collect::<String>()))
        };
        assert_eq!(chain(CHAIN_MAX), Ok(()));
        for rules in [CHAIN_MAX + 1, CHAIN_MAX + 2, 10_000] {
            assert!(chain(rules).unwrap_err().contains("more than"), "{rules}");
        }
    }
}
