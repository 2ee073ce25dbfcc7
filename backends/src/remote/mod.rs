//! Remote storages: what they have in common, on top of a [`store::Store`] for each protocol.
//!
//! | room | what is in it |
//! |---|---|
//! | `store` | what a protocol must be able to do |
//! | `wire`, `limits`, `retry`, `clock` | limits, retries, errors that say where |
//! | `names` | which paths may be asked for |
//! | `token` | tokens from tags, times and sizes, and back |
//! | `listing` | flat keys or folders to rows in order |
//! | `read` | whole small files, large ones in parallel ranges |
//! | `backend` | the contract of `wl-core`, on all of these |
//! | `session` | staging, commits under conditions, the trash, leftovers |
//! | `trash` | displaced versions: where they are, how they come back |
//! | `probe`, `order`, `servers` | what a server really does with conditions and in which order it lists, tried out and remembered |
//! | `skew` | how the server's clock goes, where times tell versions apart |
//! | `web` | what storages over plain HTTP share |
//! | `proxy` | the proxy that a failed connection went through |

use std::path::Path;
use std::sync::Arc;

use wl_core::model::SyncPath;
use wl_core::plugin::{ConnectContext, KnownGrade};
use wl_core::storage::{Capabilities, CasGrade, ListOrder, Result};

use self::order::{KnownOrder, Order};
use self::probe::Proven;
use self::store::{Conditions, Facts, Store};
use self::wire::Wire;

pub(crate) mod store;
#[cfg(any(feature = "webdav", feature = "http"))]
pub(crate) mod web;

mod backend;
mod clock;
mod limits;
mod listing;
mod names;
mod order;
mod probe;
#[cfg(any(feature = "_opendal", feature = "webdav", feature = "http"))]
pub(crate) mod proxy;
mod read;
pub(crate) mod retry;
mod servers;
mod session;
mod skew;
mod token;
mod trash;
mod wire;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

/// A remote storage that implements the contract of `wl-core`.
#[derive(Clone, Debug)]
pub(crate) struct RemoteBackend(pub(self) Arc<Remote>);

/// What all parts of a remote storage share.
#[derive(Debug)]
pub(crate) struct Remote {
    type_name: &'static str,
    location: Box<str>,
    identity: Box<str>,
    wire: Wire,
    /// The conditions that work: offered, and proven where a server may ignore them.
    conditions: Conditions,
    /// Those that work for large files.
    large: Conditions,
    /// Copies from other storages keep to their conditions too.
    copies_in: bool,
    /// The storage compares content with its SHA-256, and keeps that.
    verifies: bool,
    /// In which order flat keys are listed.
    order: KnownOrder,
    capabilities: Capabilities,
}

impl RemoteBackend {
    /// Connects. If the run will write, the root is made if it has to be, and it is found out what the server does with conditions, if
    /// that is not known.
    pub(crate) async fn connect(
        type_name: &'static str,
        store: Arc<dyn Store>,
        context: &ConnectContext,
    ) -> Result<Self> {
        let (location, identity) = (store.location().into(), store.identity().into());
        let wire = Wire::new(store, context.limits);
        if context.makes_root && wire.facts().writable {
            let root = SyncPath::root();
            let make = || wire.store().make_root();
            wire.again("make folder", &root, make).await?;
        }
        let proven = probe::conditions(&wire, context).await?;
        skew::learn(&wire, proven.conditions, context).await;
        let memory = context.state_dir.clone();
        let memory = memory.map(|dir| (dir, wire.store().server().into()));
        Ok(Self(Arc::new(Remote {
            type_name,
            location,
            identity,
            capabilities: capabilities(wire.facts(), proven),
            wire,
            conditions: proven.conditions,
            large: match proven.large {
                true => proven.conditions,
                false => Conditions {
                    create: false,
                    replace: false,
                    ..proven.conditions
                },
            },
            copies_in: proven.copy_in,
            verifies: proven.verifies,
            order: KnownOrder::new(proven.order, memory),
        })))
    }
}

/// What a storage with these facts can do if its server does all that is offered.
pub(crate) fn at_best(facts: &Facts) -> Capabilities {
    let proven = Proven {
        conditions: facts.conditions,
        copy: facts.copies,
        copy_in: facts.copies,
        large: true,
        verifies: false,
        order: Order::Bytes,
    };
    capabilities(facts, proven)
}

/// The grade of a storage with these facts on `server`, as far as it is known without trying.
pub(crate) fn known_grade(facts: &Facts, server: &str, state_dir: &Path) -> Option<KnownGrade> {
    let best = at_best(facts).cas;
    if !facts.probe || best <= CasGrade::Checked {
        return Some(KnownGrade {
            cas: best,
            probed: None,
        });
    }
    let proven = servers::recall(state_dir, server, token::now().secs)?;
    Some(KnownGrade {
        cas: capabilities(facts, proven).cas,
        probed: servers::probed(state_dir, server),
    })
}

/// What a storage with these facts and proven conditions can do, rounded down.
fn capabilities(facts: &Facts, proven: Proven) -> Capabilities {
    let conditions = proven.conditions;
    let atomic = conditions.create && conditions.replace && conditions.remove;
    Capabilities {
        cas: if atomic && proven.large {
            CasGrade::Atomic
        } else {
            CasGrade::Checked
        },
        // Flat keys come sorted or are sorted here; folders are sorted one by one.
        list_order: ListOrder::Key,
        listing_proves_absence: false,
        empty_folders: !facts.flat,
        links: facts.links,
        modes: facts.modes,
        mtime_resolution: facts.mtime_resolution,
        // Without a rename of its own it is a copy and a conditional removal: then both must be safe, for large files too.
        rename: facts.renames || (proven.copy && atomic && proven.large),
        // With renames alone a replaced version is read and written once more.
        trash: facts.copies || facts.renames,
        folds_case: facts.folds_case,
        stages: false,
        writable: facts.writable,
    }
}
