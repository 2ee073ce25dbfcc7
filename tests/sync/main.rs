//! Whole runs over the reference backend, judged by an oracle that knows nothing of how they are made.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod announced;
mod cancel;
mod continuous;
mod copies;
mod doubt;
mod exhaustive;
mod explain;
mod faults;
mod filters;
mod group_losses;
mod groups;
mod hangs;
mod histories;
mod interrupted;
mod modes;
mod moves;
mod open;
mod outage;
mod places;
mod proof;
mod removals;
mod resolve;
mod roots;
mod stale;
mod twofold;
mod unrest;
mod watched;
mod work;
mod world;
