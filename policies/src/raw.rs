//! The machine of the interpreter as it comes: a ceiling to measure [`Policies`](crate::Policies) beside.

use std::sync::Arc;

use regorus::Value;
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::RegoVM;

use crate::action::Action;
use crate::bundle::{BadBundle, Bundle};
use crate::policies::{engine, of_interpreter};

/// A machine with the rule of one action, with no bounds but its own, and with nothing remembered.
pub struct RawMachine {
    vm: RegoVM,
    rule: &'static str,
}

impl std::fmt::Debug for RawMachine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawMachine").field("rule", &self.rule).finish_non_exhaustive()
    }
}

impl RawMachine {
    /// Makes the rule of an action ready.
    ///
    /// # Errors
    /// What is wrong with the rules.
    pub fn new(bundle: &Bundle, action: Action) -> Result<Self, BadBundle> {
        let failed =
            |said: &dyn std::fmt::Display| BadBundle::Rego(of_interpreter(&said.to_string()));
        let rule = action.rule();
        let mut engine = engine(bundle, |file| !file.is_test())?;
        let compiled = engine.compile_with_entrypoint(&rule.into()).map_err(|e| failed(&e))?;
        let program = Compiler::compile_from_policy(&compiled, &[rule]).map_err(|e| failed(&e))?;
        let mut vm = RegoVM::new();
        vm.load_program(Arc::clone(&program));
        let data = bundle.data()?.map_or_else(Value::new_object, Value::from);
        vm.set_data(data).map_err(|e| failed(&e))?;
        Ok(Self { vm, rule })
    }

    /// Whether the rule allows what an input in JSON asks for; `None`: it says nothing, or the input is none.
    pub fn allows(&mut self, input: &str) -> Option<bool> {
        self.vm.set_input(Value::from_json_str(input).ok()?);
        let said = self.vm.execute_entry_point_by_name(self.rule).ok()?;
        said["allow"].as_bool().ok().copied()
    }
}
