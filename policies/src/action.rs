//! [`Action`]: what somebody may or may not do; and [`Reach`]: how far it goes.

use std::fmt;
use std::str::FromStr;

macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident = $name:literal,)*) => {
        /// What is asked for. Each has a rule of its own in a bundle: `data.nexus.NAME.decision`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action {
            $($(#[$doc])* $action,)*
        }

        impl Action {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$action,)*];

            /// Its name, in inputs and in the names of rules.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$action => $name,)*
                }
            }

            /// The path of the rule that decides about it.
            pub fn rule(self) -> &'static str {
                match self {
                    $(Self::$action => concat!("data.nexus.", $name, ".decision"),)*
                }
            }
        }
    };
}

actions! {
    /// To append events.
    Append = "append",
    /// To read events, and to see where streams and the log end.
    Read = "read",
    /// To read what was, at an earlier time.
    AsOf = "as_of",
    /// To be given events as they come.
    Subscribe = "subscribe",
    /// To be told of changes by a channel.
    Watch = "watch",
    /// To search read models.
    Search = "search",
    /// Consumer groups, and what is parked.
    Group = "group",
    /// Routes.
    Route = "route",
    /// Timers.
    Timer = "timer",
    /// Snapshots of a fold.
    Snapshot = "snapshot",
    /// Sagas.
    Saga = "saga",
    /// Commands.
    Command = "command",
    /// Projections.
    Projection = "projection",
    /// Schemas, and how strictly they are kept.
    Schema = "schema",
    /// Policies.
    Policy = "policy",
    /// The nodes of a cluster.
    Cluster = "cluster",
    /// Namespaces, tokens, the audit, and counts of the whole node.
    Admin = "admin",
    /// To delete streams, and to say how long events are kept.
    Erase = "erase",
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no action")]
pub struct UnknownAction(String);

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(name: &str) -> Result<Self, UnknownAction> {
        let found = Self::ALL.iter().copied().find(|action| action.as_str() == name);
        found.ok_or_else(|| UnknownAction(name.chars().take(64).collect()))
    }
}

/// How far something goes that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// To see names, definitions, and counts.
    See,
    /// To do what the thing is for: events come or go.
    Use,
    /// To make, change, or delete the thing itself.
    Change,
}

impl Reach {
    /// Every reach, the shortest first.
    pub const ALL: [Self; 3] = [Self::See, Self::Use, Self::Change];

    /// Its name, in inputs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::See => "see",
            Self::Use => "use",
            Self::Change => "change",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_as_they_are_printed() {
        for action in Action::ALL {
            assert_eq!(action.to_string().parse(), Ok(*action));
            assert_eq!(action.rule(), format!("data.nexus.{action}.decision"));
        }
        assert!("root".parse::<Action>().is_err());
    }
}
