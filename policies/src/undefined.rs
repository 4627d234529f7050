//! What is undefined ends a body: a check that the compiler of rules leaves out is put behind each value that is taken.
//!
//! A value that is given by `:=` is moved into a register, and where there is none nothing says so: `x := data.limits[y]`
//! holds though no limit is there, and `not z > x` behind it too. What is denied by the interpreter, and by every other
//! one, would be allowed.

use std::sync::Arc;

use regorus::rvm::instructions::GuardMode;
use regorus::rvm::{Instruction, Program};

use crate::bundle::BadBundle;

/// A program that is made longer, and where what was at each place before is now.
struct Longer {
    at: Vec<usize>,
}

impl Longer {
    fn short(&self, place: u16) -> u16 {
        let place = self.at.get(usize::from(place)).copied().unwrap_or_default();
        // All places fit: that is looked at before.
        u16::try_from(place).unwrap_or(u16::MAX)
    }

    fn long(&self, place: u32) -> u32 {
        let place = usize::try_from(place).ok().and_then(|it| self.at.get(it)).copied();
        u32::try_from(place.unwrap_or_default()).unwrap_or(u32::MAX)
    }
}

/// Puts the checks into a program.
///
/// # Errors
/// When it gets too long by them.
pub(crate) fn end_bodies(program: &mut Program) -> Result<(), BadBundle> {
    let before = std::mem::take(&mut program.instructions);
    let spans = std::mem::take(&mut program.instruction_spans);
    let mut longer = Longer { at: Vec::with_capacity(before.len() + 1) };
    let (mut instructions, mut new_spans) = (Vec::new(), Vec::new());
    for (place, instruction) in before.iter().enumerate() {
        longer.at.push(instructions.len());
        let span = || spans.get(place).cloned().flatten();
        let mut put = |it: Instruction| {
            instructions.push(it);
            new_spans.push(span());
        };
        let guard = |register| Instruction::Guard { register, mode: GuardMode::NotUndefined };
        if let Instruction::ComprehensionYield { value_reg, .. } = instruction {
            put(guard(*value_reg));
        }
        put(*instruction);
        if let Instruction::Move { dest, .. } = instruction {
            let next = before.get(place + 1);
            let is_there = matches!(
                next,
                Some(Instruction::Guard { register, mode: GuardMode::NotUndefined }) if register == dest
            );
            if !is_there {
                put(guard(*dest));
            }
        }
    }
    longer.at.push(instructions.len());
    if instructions.len() > Program::MAX_INSTRUCTIONS {
        let why = format!(
            "the rules come to {} instructions, and {} are the most",
            instructions.len(),
            Program::MAX_INSTRUCTIONS
        );
        return Err(BadBundle::TooComplex(why));
    }
    program.instructions = instructions;
    program.instruction_spans = new_spans;
    move_targets(program, &longer);
    Ok(())
}

/// Has whatever leads to a place lead to where that is now.
fn move_targets(program: &mut Program, longer: &Longer) {
    for instruction in &mut program.instructions {
        match instruction {
            Instruction::LoopNext { body_start, loop_end } => {
                (*body_start, *loop_end) = (longer.short(*body_start), longer.short(*loop_end));
            }
            Instruction::LogicalBlockStart { end_pc, .. }
            | Instruction::AllOfNext { end_pc, .. }
            | Instruction::AnyOfNext { end_pc, .. } => *end_pc = longer.short(*end_pc),
            _ => {}
        }
    }
    for params in &mut program.instruction_data.loop_params {
        params.body_start = longer.short(params.body_start);
        params.loop_end = longer.short(params.loop_end);
    }
    for params in &mut program.instruction_data.comprehension_begin_params {
        params.body_start = longer.short(params.body_start);
        params.comprehension_end = longer.short(params.comprehension_end);
    }
    for rule in &mut program.rule_infos {
        let bodies = |bodies: &Vec<u32>| bodies.iter().map(|it| longer.long(*it)).collect();
        rule.definitions = Arc::new(rule.definitions.iter().map(bodies).collect());
        for block in &mut rule.destructuring_blocks {
            *block = block.map(|it| longer.long(it));
        }
    }
    program.main_entry_point = longer.long(program.main_entry_point);
    for place in program.entry_points.values_mut() {
        *place = longer.at.get(*place).copied().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use crate::{Bundle, Policies, ask_both};
    use serde_json::json;

    /// Whether both interpreters allow this.
    fn allows(rule: &str, data: &str) -> bool {
        let files = [
            ("a.rego".to_owned(), format!("package nexus.read\n{rule}\n")),
            ("data.json".to_owned(), data.to_owned()),
        ];
        let bundle = Bundle::new(files).unwrap();
        Policies::compile(&bundle).unwrap();
        let input = json!({ "v": 1, "action": "read", "subject": { "id": "ada" } });
        ask_both(&bundle, &input).unwrap_or_else(|why| panic!("{rule}: {why}")).allow
    }

    #[test]
    fn a_value_that_is_not_there_ends_a_body() {
        let body = |body: &str| {
            format!(
                "default decision := {{\"allow\": false}}\ndecision := {{\"allow\": true}} if {{ {body} }}"
            )
        };
        let limits = r#"{"d": {"limits": {"ada": 50}}}"#;
        for (rule, data, allowed) in [
            (
                body("limit := data.d.limits[input.subject.id]; not 100 > limit"),
                "{\"d\": {}}",
                false,
            ),
            (body("limit := data.d.limits[input.subject.id]; not 100 > limit"), limits, false),
            (body("limit := data.d.limits[input.subject.id]; not 10 > limit"), limits, true),
            (body("x := input.nothing"), "{}", false),
            (body("x := input.nothing; not x"), "{}", false),
            (body("[x, y] := [1, input.nothing]; x == 1"), "{}", false),
            (body("every r in [1, 2] { x := input.nothing; x == r }"), "{}", false),
            (body("count([x | some y in [1, 2]; x := input.nothing]) == 2"), "{}", false),
            (body("count([x | some y in [1, 2]; x := y]) == 2"), "{}", true),
            (body("some r in [1, 2]; x := r + 1; x == 3"), "{}", true),
        ] {
            assert_eq!(allows(&rule, data), allowed, "{rule}");
        }
    }

    #[test]
    fn what_stands_behind_else_is_taken_where_a_value_is_not_there() {
        let rule = "x := y if { y := input.nothing } else := 2\ndecision := {\"allow\": x == 2}";
        assert!(allows(rule, "{}"));
        let rule = "x := 1 if { y := input.subject.id; y == \"ada\" } else := 2\ndecision := {\"allow\": x == 1}";
        assert!(allows(rule, "{}"));
    }
}
