//! `nexus completions`: what a shell needs to complete command lines.

use crate::exit::Failure;
use crate::output::Output;

/// Prints a script with which a shell completes commands and options
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  nexus completions bash > ~/.local/share/bash-completion/completions/nexus
  nexus completions zsh > ~/.zfunc/_nexus
  nexus completions fish > ~/.config/fish/completions/nexus.fish

zsh looks in the folders of its fpath: add `fpath+=~/.zfunc` before `compinit` in ~/.zshrc.")]
pub(crate) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

/// The command line without what is hidden from people.
fn shown(line: &clap::Command) -> clap::Command {
    let commands = line.get_subcommands().filter(|command| !command.is_hide_set());
    clap::Command::new("nexus").args(line.get_arguments()).subcommands(commands)
}

/// Runs the command; `line` is the whole command line.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn run(args: &Args, line: &clap::Command, output: &mut Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut shown(line), "nexus", &mut script);
    output.text(&String::from_utf8_lossy(&script))?;
    output.flush()
}
