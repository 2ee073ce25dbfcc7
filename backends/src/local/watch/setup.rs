//! Sets up what tells the events of a tree: watches; marks where those do not suffice.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;
use wl_core::model::SyncPath;
use wl_core::storage::Filter;

use super::drive::{Core, Sources};
use super::fanotify::Marked;
use super::machine::{Looked, Polled, Watches, Why};
use super::mounts::Mounts;
use super::system::{Kernel, System};
use crate::local::root::Spot;

/// What is watched.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) spot: Arc<Spot>,
    pub(super) filter: Arc<dyn Filter>,
    /// For tests: only this. Otherwise inotify, and fanotify where that does not suffice.
    pub(super) only: Option<How>,
}

/// What tells the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Inotify,
    Fanotify,
}

impl How {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Inotify => "inotify",
            Self::Fanotify => "fanotify",
        }
    }
}

/// A system in which nothing is watched so far.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) how: How,
    pub(super) system: Box<dyn System>,
    pub(super) readable: Arc<OwnedFd>,
}

impl Fresh {
    pub(super) fn new(how: How, spot: Arc<Spot>) -> Result<Self, Why> {
        let (system, readable): (Box<dyn System>, _) = match how {
            How::Inotify => {
                let kernel = Kernel::new(spot)?;
                let readable = kernel.readable();
                (Box::new(kernel), readable)
            }
            How::Fanotify => {
                let marked = Marked::new(spot)?;
                let readable = marked.readable();
                (Box::new(marked), readable)
            }
        };
        Ok(Self {
            how,
            system,
            readable,
        })
    }
}

/// A system in which all is watched that can be.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) how: How,
    pub(super) core: Core,
    pub(super) readable: Arc<OwnedFd>,
}

/// Walks a tree and watches it. May block for long; `stop` ends it.
pub(super) type Walk = fn(&Place, &CancellationToken) -> Result<Walked, Why>;

/// By inotify; where its limit is reached, by fanotify if that does for all of the tree.
pub(super) fn by_what_suffices(place: &Place, stop: &CancellationToken) -> Result<Walked, Why> {
    let first = place.only.unwrap_or(How::Inotify);
    let first = Fresh::new(first, Arc::clone(&place.spot))?;
    match place.only {
        Some(_) => watch_all(place, stop, first),
        None => enough(place, stop, first),
    }
}

/// By `first`; where its limit is reached, by fanotify, if that does for all of the tree.
pub(super) fn enough(place: &Place, stop: &CancellationToken, first: Fresh) -> Result<Walked, Why> {
    let walked = watch_all(place, stop, first);
    let limited = match &walked {
        Ok(walked) => walked.core.unwatched().why == Some(Why::Limit),
        Err(why) => *why == Why::Limit,
    };
    if limited && let Ok(other) = by_marks(place, stop) {
        // The watches that were set go back to who else needs them.
        return Ok(other);
    }
    walked
}

/// By fanotify, if that does for all of the tree.
pub(super) fn by_marks(place: &Place, stop: &CancellationToken) -> Result<Walked, Why> {
    let fresh = Fresh::new(How::Fanotify, Arc::clone(&place.spot))?;
    let walked = watch_all(place, stop, fresh)?;
    let mut polled = walked.core.watches.polled().values();
    let in_vain = polled.find(|one| !by_any(one)).map(|one| one.why.clone());
    in_vain.map_or(Ok(walked), Err)
}

/// Whether what is polled would be polled whatever tells the events.
fn by_any(polled: &Polled) -> bool {
    matches!(polled.why, Why::Silent(_) | Why::Twice)
}

pub(super) fn watch_all(
    place: &Place,
    stop: &CancellationToken,
    fresh: Fresh,
) -> Result<Walked, Why> {
    let Fresh {
        how,
        mut system,
        readable,
    } = fresh;
    let root = match system.look(&SyncPath::root()) {
        Looked::Folder { wd, .. } => wd,
        Looked::Unwatched { why, .. } => return Err(why),
        Looked::Nothing => return Err(Why::Refused("the root is not there".to_owned())),
        Looked::Unreadable => return Err(Why::Refused("the root cannot be read".to_owned())),
    };
    let mut core = Core::new(Watches::new(root, Arc::clone(&place.filter)), system);
    if !core.set_up(&|| !stop.is_cancelled()) {
        return Err(Why::Refused("told to stop".to_owned()));
    }
    // Who asked looks at everything now; what was seen so far is older than that.
    let said = core.watches.take();
    match said.lost {
        Some(reason) => Err(Why::Refused(reason)),
        None => Ok(Walked {
            how,
            core,
            readable,
        }),
    }
}

/// What was set up, and what it waits for.
#[derive(Debug)]
pub(super) struct SetUp {
    pub(super) how: How,
    pub(super) core: Core,
    pub(super) sources: Sources,
}

/// Watches all there is below a root. Dropped, it ends the walk.
pub(super) async fn set_up(place: Place, walk: Walk) -> Result<SetUp, Why> {
    let broke_off = |error| Why::Refused(format!("setting up broke off: {error}"));
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    // Before the walk: what is mounted after it is a change.
    let Some(root) = place.spot.place.path() else {
        return Err(Why::Refused("it has no events".to_owned()));
    };
    let mounts = Mounts::new(root);
    let walked = tokio::task::spawn_blocking(move || walk(&place, &stop)).await;
    let Walked {
        how,
        core,
        readable,
    } = walked.map_err(|error| broke_off(error.to_string()))??;
    guard.disarm();
    // The new name of this is unsafe, for types that tell another descriptor each time; ours owns one.
    #[allow(deprecated)]
    let events = AsyncFd::with_interest(readable, Interest::READABLE)
        .map_err(|error| broke_off(error.to_string()))?;
    let sources = Sources { events, mounts };
    Ok(SetUp { how, core, sources })
}
