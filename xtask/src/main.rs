//! `cargo xtask`: the checks and long runs of the workspace, as one program.
//!
//! Each command is a module with a `COMMAND` that says what it is called, what it does, and how it
//! is used; this file only finds the command and reports how it ended. Nothing here knows the
//! store: a command starts cargo or reads the tree, so that the tool builds in seconds and can
//! judge a tree that does not compile.

mod args;
mod ci;
mod fuzz;
mod licences;
mod metadata;
mod planted;
mod process;
mod soak;
mod source;
mod test;
mod tidy;
mod tree;

use std::path::Path;
use std::process::ExitCode;

use process::Failure;

/// One command of `cargo xtask`.
struct Command {
    /// What is typed.
    name: &'static str,
    /// One line for the list of commands.
    about: &'static str,
    /// Usage, options, and examples.
    help: &'static str,
    /// Does it; gets the root of the workspace and what followed the name.
    run: fn(&Path, &[String]) -> Result<(), Failure>,
}

const COMMANDS: &[&Command] = &[
    &test::COMMAND,
    &ci::COMMAND,
    &tidy::COMMAND,
    &licences::COMMAND,
    &planted::COMMAND,
    &fuzz::COMMAND,
    &soak::COMMAND,
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = tree::workspace_root().and_then(|root| dispatch(&root, &words));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Runs the command that `words` name; `ci` comes back here for the steps that are commands.
fn dispatch(root: &Path, words: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = words.split_first() else {
        print!("{}", overview());
        return Ok(());
    };
    if matches!(name.as_str(), "-h" | "--help" | "help") {
        match rest.first().and_then(|topic| find(topic)) {
            Some(command) => print!("{}", help(command)),
            None => print!("{}", overview()),
        }
        return Ok(());
    }
    let Some(command) = find(name) else {
        return Err(Failure::usage(format!("no command {name:?}; `cargo xtask` lists them")));
    };
    if args::asks_for_help(rest) {
        print!("{}", help(command));
        return Ok(());
    }
    (command.run)(root, rest)
}

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name).copied()
}

fn help(command: &Command) -> String {
    format!("cargo xtask {}: {}\n\n{}\n", command.name, command.about, command.help.trim())
}

fn overview() -> String {
    let mut text = String::from("Checks and long runs of the Nexus workspace.\n\nCommands:\n");
    for command in COMMANDS {
        text.push_str(&format!("  {:<10}{}\n", command.name, command.about));
    }
    text.push_str("\nExamples:\n");
    text.push_str("  cargo xtask test             every test\n");
    text.push_str("  cargo xtask ci               every check that is not a test\n");
    text.push_str("  cargo xtask help soak        usage of one command\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_help_with_an_example() {
        for command in COMMANDS {
            let text = help(command);
            assert!(text.contains("Usage:"), "{}", command.name);
            assert!(text.contains("Examples:"), "{}", command.name);
            assert!(text.contains(&format!("cargo xtask {}", command.name)), "{}", command.name);
        }
    }

    #[test]
    fn an_unknown_command_is_a_usage_error() {
        let failure = dispatch(Path::new("."), &["tity".to_owned()]).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
    }
}
