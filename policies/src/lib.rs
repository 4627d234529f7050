//! Who may do what, as rules say it.
//!
//! A [`Bundle`] is a few files of Rego (the language of the Open Policy Agent), and [`Policies`] are what is made of it:
//! rules that are compiled once and asked many times, with bounds on how long they run and on what they may call. What is
//! asked is an [`Asked`]: who, what, of what, and when; the time is in it, as rules have no clock of their own. The answer
//! is a [`Decision`]. Rules that fail, run too long, or say what is no decision deny.
//!
//! The rules are interpreted by [regorus](https://github.com/microsoft/regorus), which no other crate of Nexus knows.
//!
//! Is not: the guard of a node, which asks it, keeps bundles in a stream, and applies what a decision demands.

mod action;
mod agreement;
mod bundle;
mod bundles;
mod calls;
mod decision;
mod evaluator;
mod functions;
mod input;
mod interpreter;
mod lint;
mod mask;
mod policies;
mod raw;
mod reads;
mod shape;
mod syntax;
mod trial;
mod undefined;

pub use action::{Action, Reach};
pub use agreement::{AskError, ask_both};
pub use bundle::{
    BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX, BadBundle, Bundle, BundleFile, FILE_NAME_BYTES_MAX,
    Fingerprint,
};
pub use bundles::{Files, ROLES, STARTER};
pub use decision::{Decision, NotADecision, Obligations};
pub use functions::FUNCTIONS;
pub use input::{Asked, INPUT_VERSION, Resource, Subject};
pub use mask::Mask;
pub use nexus_protocol::policy::Reason;

pub use lint::{Finding, Severity, lint};
pub use policies::{Policies, Unreadable};
pub use raw::RawMachine;
pub use trial::{Coverage, TESTS_MAX, Trial, Verdict, try_out};
