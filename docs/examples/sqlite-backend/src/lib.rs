//! A backend that keeps a tree of files in one SQLite file: the worked example of `docs/plugin-authors.md`.
//!
//! SQLite does the hard part. Every change is one transaction that looks at the condition and makes the change, so its compare-and-swap is
//! atomic, also between processes; what is committed survives a crash, and what is not was never there. What is staged lies
//! in a temporary table and needs no tidying up.

mod backend;
mod factory;
mod file;
mod listing;
mod node;
mod session;
mod user;

pub use backend::SqliteBackend;

/// Which version of this backend: the contract suite rejects the first two, and tests hold all against it. A backend of one's own has only the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draft {
    /// A token is size and time. A condition is looked at, and then the change is made.
    First,
    /// A token is the number of the change.
    Second,
    /// The look and the change are one transaction, too.
    Mended,
}
