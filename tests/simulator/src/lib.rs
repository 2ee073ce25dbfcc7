//! Whole histories of edits, faults and crashes over simulated storages, from a seed; and a judge that says whether anything was lost.
//!
//! The code that runs is the real one: reconcile, passes, looks, continuous jobs and the baseline. What is simulated is what they run
//! on: storages ([`Site`]) in memory, the folder of the baselines ([`States`]), the clock, dice, and the order of things. All of it is on
//! one thread and comes from two seeds ([`Seeds`]): one for the workload ([`Plan`]: what happens), one for the schedule (how long calls
//! take, and in which order). The same seeds make the same history, call by call.
//!
//! - [`check`] plays the history of some seeds twice and says what was wrong with it; a history that fails is made as short as it can be
//!   ([`shrink`]) and told with the command that replays it.
//! - [`play`] plays one plan. A test that looks for a certain bug calls [`search`].
//! - [`testing`] is the contract suite: every backend that is to be trusted passes it first.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this is test code: to stop with the reason is its purpose"
)]

pub use wl_core::{conformance_tests, testing};

mod agreed;
mod check;
mod ear;
mod ended;
mod extras;
mod eye;
mod faults;
mod generate;
mod groups;
mod harness;
mod judge;
mod left_out;
mod life;
mod memory;
mod model;
mod modes;
mod old_rows;
mod plan;
mod site;
mod small;
mod stage;
mod watch;
mod weak;

pub use check::{Failure, On, Tally, check, check_on, search, search_all, search_on, shrink};
pub use faults::{Fault, Fired};
pub use generate::generate;
pub use harness::HarnessSite;
pub use judge::Kept;
pub use life::{MakeSyncer, Played, World, play, play_in, play_with};
pub use memory::{MemorySite, MemoryStatesOfPair};
pub use model::{DiskPlan, ModelSite, Rules, generate_on_model};
pub use plan::{
    Aim, Content, DATABASE, Edit, Extras, Job, Mode, Plan, REPOSITORY, Seeds, SitePlan, Step, What,
};
pub use site::{Modes, Shown, Site, States, Tree, Windows};
pub use small::{SmallFailure, SmallTally, SmallWorlds};
/// Numbers from a seed.
pub use wl_test_trees::Random as Dice;
