//! To wait until a projection has come somewhere, and to show how far it is.

use std::io::IsTerminal;
use std::thread::sleep;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use nexus_protocol::projection::{BuildInfo, ProjectionInfo, ProjectionState};
use nexus_protocol::{EventStore as _, Position};

use crate::exit::Failure;
use crate::store::Remote;

/// It is looked so often.
const PAUSE: Duration = Duration::from_millis(50);

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// A version has folded what was there when it was asked for.
    Version(u32),
    /// What was folded again answers.
    Rebuilt {
        /// The version.
        version: u32,
        /// Which fold of it.
        generation: u32,
    },
}

/// Where something stands that is waited for.
#[derive(Debug, PartialEq, Eq)]
enum Stands {
    /// It is there.
    There,
    /// It has come so far.
    At(Option<Position>),
}

impl Target {
    /// How far it is; `head` was the end of the log.
    fn of(self, info: &ProjectionInfo, head: Option<Position>) -> Result<Stands, Failure> {
        let (version, build) = match self {
            Self::Version(version) => {
                let of_version = info.builds.iter().filter(|build| build.version == version);
                (version, of_version.min_by_key(|build| build.generation))
            }
            Self::Rebuilt { version, generation } => {
                let is_it =
                    |build: &&BuildInfo| build.version == version && build.generation == generation;
                (version, info.builds.iter().find(is_it))
            }
        };
        let name = &info.name;
        let Some(build) = build else {
            let why = format!("version {version} of projection {name} is not folded any more");
            return Err(Failure::failed(why));
        };
        let is_there = match self {
            Self::Version(_) => build.lag_events == 0 || build.position >= head,
            // A version whose documents are not those that answer keeps them for its own time.
            Self::Rebuilt { .. } => {
                let others = info.builds.iter().filter(|other| other.version == version);
                others.count() == 1
            }
        };
        match build.state {
            _ if is_there => Ok(Stands::There),
            ProjectionState::Failed => {
                let why = build.error.as_deref().unwrap_or("nobody knows why");
                Err(Failure::failed(format!("projection {name} has failed: {why}")))
            }
            ProjectionState::Paused => Err(Failure::failed(format!(
                "projection {name} is paused: `nexus projection resume {name}` lets it go on"
            ))),
            ProjectionState::Running | ProjectionState::Rebuilding => {
                Ok(Stands::At(build.position))
            }
        }
    }
}

/// Waits until it is so; on a terminal a bar shows how far it is.
///
/// # Errors
/// When the projection is paused, has failed, or is deleted meanwhile; as the store says.
pub(super) fn until(remote: &Remote, name: &str, target: Target) -> Result<(), Failure> {
    let head = remote.wait(remote.client.head())?.position;
    let bar = std::io::stderr().is_terminal().then(|| bar(head));
    let waited = loop {
        let info = match remote.wait(remote.client.projection(name)) {
            Ok(info) => info,
            Err(error) => break Err(error.into()),
        };
        match target.of(&info, head) {
            Ok(Stands::There) => break Ok(()),
            Ok(Stands::At(at)) => {
                if let Some(bar) = &bar {
                    bar.set_position(positions(at));
                }
            }
            Err(failure) => break Err(failure),
        }
        sleep(PAUSE);
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    waited
}

/// How many positions there are up to one.
fn positions(up_to: Option<Position>) -> u64 {
    up_to.map_or(0, |position| position.get().saturating_add(1))
}

fn bar(head: Option<Position>) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} positions, {eta} left");
    ProgressBar::new(positions(head)).with_style(style.expect("the template is fixed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(version: u32, generation: u32, position: u64, state: ProjectionState) -> BuildInfo {
        BuildInfo {
            version,
            generation,
            active: generation == 1,
            state,
            position: Some(Position::new(position)),
            lag_events: 9 - position,
            documents: 0,
            events: 0,
            events_digest: String::new(),
            documents_digest: String::new(),
            parked: 0,
            error: Some("the disk is full".to_owned()),
        }
    }

    fn of(target: Target, builds: Vec<BuildInfo>) -> Result<Stands, String> {
        let info = ProjectionInfo {
            name: "orders".to_owned(),
            version: 1,
            state: ProjectionState::Running,
            position: None,
            lag_events: 0,
            documents: 0,
            events: 0,
            events_digest: String::new(),
            documents_digest: String::new(),
            parked: 0,
            error: None,
            definition: serde_json::Value::Null,
            builds,
        };
        target.of(&info, Some(Position::new(7))).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn a_version_is_there_once_it_has_what_was_there() {
        use ProjectionState::{Failed, Paused, Rebuilding, Running};
        let first = build(1, 1, 9, Running);
        for (position, state, stands) in [
            (3, Rebuilding, Some(Stands::At(Some(Position::new(3))))),
            (7, Rebuilding, Some(Stands::There)),
            (9, Running, Some(Stands::There)),
            (9, Paused, Some(Stands::There)),
            (3, Paused, None),
            (3, Failed, None),
        ] {
            let builds = vec![first.clone(), build(2, 4, position, state)];
            assert_eq!(of(Target::Version(2), builds).ok(), stands, "{position} {state:?}");
        }
        let why = of(Target::Version(1), vec![build(1, 1, 3, Failed)]).unwrap_err();
        assert!(why.contains("the disk is full"), "{why}");
        assert!(of(Target::Version(3), vec![first]).is_err());
    }

    #[test]
    fn what_is_folded_again_is_there_once_it_is_alone() {
        use ProjectionState::{Rebuilding, Running};
        let target = Target::Rebuilt { version: 1, generation: 5 };
        let (old, new) = (build(1, 1, 9, Running), build(1, 5, 9, Rebuilding));
        let still = of(target, vec![old.clone(), new.clone()]);
        assert_eq!(still, Ok(Stands::At(Some(Position::new(9)))), "it does not answer yet");
        assert_eq!(of(target, vec![new, build(2, 6, 0, Rebuilding)]), Ok(Stands::There));
        assert!(of(target, vec![old]).is_err(), "it was given up");
    }
}
