//! Bugs planted on purpose, so that the tests prove that they can see.
//!
//! With the feature `planted` (never in a shipped binary) the environment variable `NEXUS_PLANTED`
//! names the one bug to switch on; `cargo xtask planted` runs the tests once for each name and
//! demands that they fail. Without the feature every bug is off, as a constant.

/// Every bug that can be planted.
pub const NAMES: &[&str] = &[
    "ack-before-sync",
    "body-checksum-off",
    "no-directory-sync",
    "cut-in-the-middle",
    "reply-from-overlay",
    "failed-sync-ignored",
    "watermark-before-durable",
    "replay-ignores-content",
    "boundary-off-by-one",
    "revival-resets-revision",
    "index-loses-last-posting",
    "manifest-in-place",
    "durable-end-not-stamped",
    "hidden-events-shown",
    "cut-not-recorded",
    "torn-slot-written-last",
    "data-directory-not-synced",
    "rewritten-before-verified",
    "cut-leaves-frames",
    "held-answers-released-on-cut",
    "poison-forgotten",
    "unvouched-frames-not-written-again",
    "deletion-not-synced",
];

/// Whether the bug of this name is switched on.
#[inline]
pub(crate) fn is(name: &str) -> bool {
    #[cfg(feature = "planted")]
    {
        use std::sync::OnceLock;
        static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
        debug_assert!(NAMES.contains(&name), "{name} is not listed");
        CHOSEN.get_or_init(|| std::env::var("NEXUS_PLANTED").ok()).as_deref() == Some(name)
    }
    #[cfg(not(feature = "planted"))]
    {
        let _ = name;
        false
    }
}
