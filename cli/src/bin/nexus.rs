//! The program: all of it is in the library beside it, where fuzzing can reach the parsers.

use std::process::ExitCode;

fn main() -> ExitCode {
    nexus_cli::main()
}
