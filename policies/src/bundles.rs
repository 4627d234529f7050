//! The bundles that come with Nexus, as files and what is in them.

/// A bundle's files.
pub type Files = &'static [(&'static str, &'static str)];

macro_rules! files {
    ($dir:literal: $($name:literal)*) => {
        &[$(($name, include_str!(concat!("../rego/", $dir, "/", $name))),)*]
    };
}

/// What decides where no bundle was activated: roles.
pub const ROLES: Files = files!["roles":
    "nexus/admin.rego" "nexus/append.rego" "nexus/as_of.rego" "nexus/cluster.rego" "nexus/command.rego"
    "nexus/erase.rego" "nexus/group.rego" "nexus/policy.rego" "nexus/projection.rego" "nexus/read.rego"
    "nexus/route.rego" "nexus/saga.rego" "nexus/schema.rego" "nexus/search.rego" "nexus/snapshot.rego"
    "nexus/subscribe.rego" "nexus/timer.rego" "nexus/watch.rego" "roles.rego"
];

/// A bundle to begin with: tenants, roles, masks, and limits.
pub const STARTER: Files = files!["starter":
    "appends.rego" "data.json" "nexus/admin.rego" "nexus/append.rego" "nexus/as_of.rego" "nexus/erase.rego"
    "nexus/group.rego" "nexus/policy.rego" "nexus/read.rego" "nexus/route.rego" "nexus/schema.rego"
    "nexus/snapshot.rego" "nexus/subscribe.rego" "nexus/timer.rego" "operations.rego" "reads.rego" "starter_test.rego"
    "subject.rego"
];
