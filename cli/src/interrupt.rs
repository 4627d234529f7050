//! What is done when the process is told to end: a folder of its own goes with it.
//!
//! Only for commands that make such a folder. All others may end anywhere: what was acknowledged is on
//! disk, and the next start recovers.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::exit::Failure;

/// Ends processes, removes a folder, and ends by a signal.
const REMOVE: &str = "folder=$1; signal=$2; shift 2; [ $# = 0 ] || kill -KILL \"$@\"; \
                      rm -rf -- \"$folder\" || rm -rf -- \"$folder\"; kill -\"$signal\" $$";

/// Processes of this one's own that an interruption ends too.
static CHILDREN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// From now on an interruption that removes a folder ends this child first: it may write there.
pub fn ends(child: u32) {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).push(child);
}

/// The child has ended, and was waited for: its number may be another's.
pub fn forgets(child: u32) {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| *known != child);
}

/// From now on an interruption removes `folder`, which may not be there yet, and ends the process as it
/// would have.
///
/// # Errors
/// When the system takes no handler, or has no threads left.
pub(crate) fn removes(folder: PathBuf) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::failed(format!("interruptions cannot be waited for: {error}"));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
    let wait = move || {
        if let Some(signal) = signals.forever().next() {
            end(&folder, signal);
        }
    };
    let thread = std::thread::Builder::new().name("nexus-interrupt".to_owned());
    thread.spawn(wait).map(drop).map_err(failed)
}

/// The other threads make files and folders until they are gone, and only another program in this
/// process ends them all at once: so that is what removes the folder.
fn end(folder: &Path, signal: i32) {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", REMOVE, "sh"]).arg(folder).arg(signal.to_string());
    let children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    shell.args(children.iter().map(u32::to_string));
    let error = shell.exec();
    tracing::debug!(%error, "there is no shell; what others make from here on stays");
    let _ = std::fs::remove_dir_all(folder);
    // Does not come back, so that a shell sees by what it ended.
    let _ = emulate_default_handler(signal);
}
