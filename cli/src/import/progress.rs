//! How far an import is, on standard error.

use std::cell::Cell;
use std::io::IsTerminal;
use std::rc::Rc;

use indicatif::{ProgressBar, ProgressStyle};

use super::Imported;
use super::input::Input;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ProgressKind {
    /// A bar on a terminal, nothing elsewhere
    #[default]
    Auto,
    /// A line of numbers whenever more rows are stored
    Lines,
    /// Nothing
    None,
}

/// Progress of one import.
pub(crate) enum Progress {
    /// A bar over the input's bytes.
    Bar(ProgressBar, Rc<Cell<u64>>),
    /// A line each time.
    Lines,
    /// Nothing.
    None,
}

impl Progress {
    /// Starts to show it.
    pub(crate) fn start(kind: ProgressKind, input: &Input) -> Self {
        match kind {
            ProgressKind::Auto if std::io::stderr().is_terminal() => {
                Self::Bar(bar(input.len_bytes()), input.read_bytes())
            }
            ProgressKind::Lines => Self::Lines,
            ProgressKind::Auto | ProgressKind::None => Self::None,
        }
    }

    /// Shows what was done so far.
    pub(crate) fn show(&self, imported: &Imported) {
        match self {
            Self::Bar(bar, read_bytes) => {
                bar.set_position(read_bytes.get());
                bar.set_message(format!("{} events", imported.appended + imported.already_there));
            }
            Self::Lines => crate::output::notice(format_args!(
                "{} read, {} appended, {} already there",
                imported.read, imported.appended, imported.already_there
            )),
            Self::None => {}
        }
    }

    /// Takes it off the screen.
    pub(crate) fn end(&self) {
        if let Self::Bar(bar, _) = self {
            bar.finish_and_clear();
        }
    }
}

fn bar(len_bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match len_bytes {
        Some(len_bytes) => {
            (ProgressBar::new(len_bytes), "{bar:40} {bytes}/{total_bytes}, {msg}, {eta} left")
        }
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}, {msg}, {elapsed}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the template is fixed"))
}
