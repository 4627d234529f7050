//! What rules are made of: a walk over their syntax, and the paths that stand in it.
//!
//! A path is met once, as the longest that stands there: in `a.b[c]` that is `a.b[c]`, then `c`, and never `a.b`.

use std::collections::BTreeMap;

use regorus::Value;
use regorus::unstable::{Expr, Literal, Module, Query, Ref, Rule, RuleHead, WithModifier};

/// What a walk meets.
pub(crate) enum Node<'a> {
    /// An expression.
    Expr(&'a Expr),
    /// What stands behind `with`.
    With(&'a WithModifier),
}

/// What is done with what is met.
type See<'s, 'a> = &'s mut dyn FnMut(Node<'a>);

/// Meets everything in a module, but what it imports.
pub(crate) fn walk<'a>(module: &'a Module, see: See<'_, 'a>) {
    module.policy.iter().for_each(|rule| walk_rule(rule, see));
}

/// Meets everything in a rule.
pub(crate) fn walk_rule<'a>(rule: &'a Rule, see: See<'_, 'a>) {
    match rule {
        Rule::Default { args, value, .. } => {
            args.iter().for_each(|arg| expr(arg, see));
            expr(value, see);
        }
        Rule::Spec { head, bodies, .. } => {
            self::head(head, see);
            for body in bodies {
                if let Some(assign) = &body.assign {
                    expr(&assign.value, see);
                }
                query(&body.query, see);
            }
        }
    }
}

fn head<'a>(head: &'a RuleHead, see: See<'_, 'a>) {
    let (refr, assign) = match head {
        RuleHead::Compr { refr, assign, .. } => (refr, assign.as_ref()),
        RuleHead::Func { refr, args, assign, .. } => {
            args.iter().for_each(|arg| expr(arg, see));
            (refr, assign.as_ref())
        }
        RuleHead::Set { refr, key, .. } => {
            if let Some(key) = key {
                expr(key, see);
            }
            (refr, None)
        }
    };
    // The name of a rule is no use of it; what stands in its brackets is one of something else.
    brackets(refr, see);
    if let Some(assign) = assign {
        expr(&assign.value, see);
    }
}

fn query<'a>(query: &'a Query, see: See<'_, 'a>) {
    for statement in &query.stmts {
        match &statement.literal {
            Literal::SomeVars { .. } => {}
            Literal::SomeIn { key, value, collection, .. } => {
                key.iter().for_each(|key| expr(key, see));
                expr(value, see);
                expr(collection, see);
            }
            Literal::Expr { expr: it, .. } | Literal::NotExpr { expr: it, .. } => expr(it, see),
            Literal::Every { domain, query, .. } => {
                expr(domain, see);
                self::query(query, see);
            }
        }
        for with in &statement.with_mods {
            see(Node::With(with));
            expr(&with.r#as, see);
        }
    }
}

fn expr<'a>(of: &'a Ref<Expr>, see: See<'_, 'a>) {
    let of: &'a Expr = of.as_ref();
    see(Node::Expr(of));
    match of {
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. }
        | Expr::Var { .. } => {}
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            items.iter().for_each(|it| expr(it, see));
        }
        Expr::Object { fields, .. } => {
            for (_, key, value) in fields {
                expr(key, see);
                expr(value, see);
            }
        }
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            expr(term, see);
            self::query(query, see);
        }
        Expr::ObjectCompr { key, value, query, .. } => {
            expr(key, see);
            expr(value, see);
            self::query(query, see);
        }
        Expr::Call { fcn, params, .. } => {
            expr(fcn, see);
            params.iter().for_each(|it| expr(it, see));
        }
        Expr::UnaryExpr { expr: it, .. } => expr(it, see),
        Expr::RefDot { .. } | Expr::RefBrack { .. } => brackets(of, see),
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => {
            expr(lhs, see);
            expr(rhs, see);
        }
        Expr::Membership { key, value, collection, .. } => {
            key.iter().for_each(|key| expr(key, see));
            expr(value, see);
            expr(collection, see);
        }
    }
}

/// Meets what stands in the brackets of a path, and what it begins with where that is no name.
fn brackets<'a>(mut of: &'a Expr, see: See<'_, 'a>) {
    loop {
        let inner = match of {
            Expr::RefDot { refr, .. } => refr,
            Expr::RefBrack { refr, index, .. } => {
                expr(index, see);
                refr
            }
            _ => return,
        };
        if !matches!(inner.as_ref(), Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. })
        {
            return expr(inner, see);
        }
        of = inner.as_ref();
    }
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    /// By a name.
    Name(String),
    /// By what is known only when it is evaluated, or by a number.
    Any,
}

/// The steps of a path; `None`: an expression is none.
pub(crate) fn steps(of: &Expr) -> Option<Vec<Step>> {
    let (refr, step) = match of {
        Expr::Var { span, .. } => return Some(vec![Step::Name(span.text().to_owned())]),
        Expr::RefDot { refr, field, .. } => (refr, Step::Name(field.0.text().to_owned())),
        Expr::RefBrack { refr, index, .. } => match index.as_ref() {
            Expr::String { value: Value::String(name), .. }
            | Expr::RawString { value: Value::String(name), .. } => {
                (refr, Step::Name((**name).to_owned()))
            }
            _ => (refr, Step::Any),
        },
        _ => return None,
    };
    let mut steps = steps(refr)?;
    steps.push(step);
    Some(steps)
}

/// The names that a path begins with, up to the first step that has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// The names.
    pub(crate) names: Vec<String>,
    /// Whether that is all of it.
    pub(crate) is_whole: bool,
}

/// The path that an expression is; `None`: it is none.
pub(crate) fn path(of: &Expr) -> Option<Path> {
    let steps = steps(of)?;
    let count = steps.len();
    let names: Vec<_> = steps
        .into_iter()
        .map_while(|step| match step {
            Step::Name(name) => Some(name),
            Step::Any => None,
        })
        .collect();
    Some(Path { is_whole: names.len() == count, names })
}

/// What a module imports from `data`, by the name that it has there.
pub(crate) fn imports(module: &Module) -> BTreeMap<String, Vec<String>> {
    let mut imports = BTreeMap::new();
    for import in &module.imports {
        let Some(path) = path(&import.refr) else { continue };
        let Some((root, names)) = path.names.split_first() else { continue };
        let name = match &import.r#as {
            Some(name) => Some(name.text().to_owned()),
            None => path.names.last().cloned(),
        };
        if let (Some(name), "data") = (name, root.as_str()) {
            imports.insert(name, names.to_vec());
        }
    }
    imports
}

/// The name of a rule in its package, as far as it is known before it is evaluated.
pub(crate) fn name(rule: &Rule) -> Path {
    let refr = match rule {
        Rule::Default { refr, .. } => refr,
        Rule::Spec { head, .. } => match head {
            RuleHead::Compr { refr, .. }
            | RuleHead::Set { refr, .. }
            | RuleHead::Func { refr, .. } => refr,
        },
    };
    path(refr).unwrap_or(Path { names: Vec::new(), is_whole: false })
}

/// The names of the package of a module, without `data`.
pub(crate) fn package(module: &Module) -> Vec<String> {
    path(&module.package.refr).map(|path| path.names).unwrap_or_default()
}

/// The file that a module is from.
pub(crate) fn file(module: &Module) -> &str {
    module.package.span.source.get_path()
}
