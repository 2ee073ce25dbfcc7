//! What a simulated world is made of.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use wl_core::model::{ContentHash, Sides, SyncPath};
use wl_core::state::BaselineRow;
use wl_core::storage::StorageBackend;

use crate::Dice;
use crate::faults::Fired;
use crate::judge::Kept;
use crate::plan::Edit;

/// What people see at a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shown {
    /// A file with this content.
    File(ContentHash),
    /// A folder.
    Folder,
    /// A link that points there.
    Link(String),
}

/// What people see in a storage, by path.
pub type Tree = BTreeMap<String, Shown>;

/// Permission bits, by path.
pub type Modes = BTreeMap<String, u32>;

/// Gaps in the work of a storage in which others may strike. A storage whose compare-and-swap is not atomic opens one between its look
/// and its change.
pub trait Windows: Send + Sync + fmt::Debug {
    /// Lets others strike.
    fn open(&self, path: &SyncPath) -> BoxFuture<'static, ()>;

    /// Whether a listing shows of a file what is not so any more, rather than what is.
    fn shows_old(&self) -> bool {
        false
    }

    /// Lets others strike before something that cannot wait, as a system call; `what` is for the trace.
    fn strike(&self, _what: &dyn fmt::Display) {}
}

/// One storage of a simulated world, as its users and the judge see it.
pub trait Site: Send + Sync + fmt::Debug {
    /// What jobs work on. Called anew whenever a process begins: after a crash it is what such a process finds.
    fn backend(&self) -> Arc<dyn StorageBackend>;

    /// Where the storage's own work can be interrupted.
    fn set_windows(&self, _: Arc<dyn Windows>) {}

    /// Somebody edits it. What cannot be done is not done.
    fn edit(&self, edit: &Edit);

    /// What people see.
    fn tree(&self) -> Tree;

    /// The permission bits of what people see, where they are kept.
    fn modes(&self) -> Modes {
        Modes::new()
    }

    /// How many versions in the trash are known to be given up by nobody.
    fn claims(&self) -> usize {
        self.kept().iter().filter(|kept| kept.claimed).count()
    }

    /// Versions that are not in the tree, and not lost either.
    fn kept(&self) -> Vec<Kept>;

    /// Versions that were overwritten where the storage promised no better.
    fn given_up(&self) -> Vec<ContentHash> {
        Vec::new()
    }

    /// The process that works on it dies: nothing that it still does has an effect.
    fn halt(&self) {}

    /// The process that worked on it is gone. With `dice`, which of what it left undone survives.
    fn crash(&self, dice: &mut Dice);

    /// It is taken away, and something else with nothing in it is in its place ([`StorageBackend::root_marker`] says so); or it is put back.
    /// [`Site::tree`] and [`Site::kept`] go on telling of the storage that was taken away. Without this it stays where it is.
    fn set_mounted(&self, _: bool) {}

    /// What it has done by itself to whoever relies on it, under the names of faults.
    fn struck(&self) -> Fired {
        Fired::new()
    }

    /// Whether it never loses anything by itself, and says so ([`wl_core::storage::RootMarker::start`]).
    fn is_sure(&self) -> bool {
        false
    }

    /// Everything can be read again.
    fn make_readable(&self) {}

    /// Some time passes: tokens that were too young to prove anything are so no more.
    fn age(&self) {}
}

/// The folder with the baselines of a simulated world.
pub trait States: Send + Sync + fmt::Debug {
    /// What jobs take for the folder.
    fn dir(&self) -> PathBuf;

    /// Another number than before if something was committed since.
    fn commits(&self) -> i64;

    /// What the baseline of the pair says.
    fn rows(&self, identities: Sides<&str>) -> Vec<BaselineRow>;

    /// Somebody deletes all of it. Nothing runs.
    fn forget(&self);

    /// The process that worked on it is gone. With `dice`, which of what it left undone survives.
    fn crash(&self, dice: &mut Dice);
}
