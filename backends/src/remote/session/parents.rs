//! What is known of the folders above: the storage is asked once a session and folder, not for every file.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use tokio::sync::{Mutex as AsyncMutex, OnceCell};
use tokio_util::sync::CancellationToken;
use wl_core::model::{Kind, SyncPath};
use wl_core::storage::{ErrorKind, Result, StorageError};

use super::{Shared, lock};
use crate::remote::store::{Fault, List, Listed, Outcome};
use crate::remote::wire::Wire;

/// So many folders are remembered at most.
const MOST: usize = 10_000;
/// So many pages of flat listings.
const MOST_PAGES: usize = 256;
/// A page with so many rows is not the last.
const FULL_PAGE: usize = 500;

/// Folders that were seen or made.
#[derive(Debug, Default)]
pub(super) struct Parents {
    /// Those above staged content and trash, made by us or found.
    made: AsyncMutex<HashSet<SyncPath>>,
    /// Folders that are no links.
    real: Mutex<HashSet<SyncPath>>,
    /// First pages of flat folders, by prefix.
    pages: Mutex<HashMap<String, Arc<OnceCell<Page>>>>,
}

/// The beginning of what is below a prefix in a flat storage.
#[derive(Debug)]
struct Page {
    /// It is all there is.
    complete: bool,
    files: HashSet<String>,
    folders: HashSet<String>,
}

impl Page {
    fn of(rows: Vec<Listed>, complete: bool) -> Self {
        let (mut files, mut folders) = (HashSet::new(), HashSet::new());
        for row in rows {
            for (at, _) in row.name.match_indices('/') {
                folders.insert(row.name[..at].to_owned());
            }
            if !row.name.ends_with('/') {
                files.insert(row.name);
            }
        }
        Self {
            complete,
            files,
            folders,
        }
    }

    /// What may be in the way of a new file, as far as the page tells.
    fn in_the_way(&self, path: &SyncPath) -> Option<SyncPath> {
        if self.folders.contains(path.as_str()) {
            return Some(path.clone());
        }
        path.ancestors()
            .find(|above| self.files.contains(above.as_str()))
    }
}

/// Makes the folders above `at` that are not in `made`.
pub(in crate::remote) async fn make_above(
    wire: &Wire,
    made: &mut HashSet<SyncPath>,
    at: &SyncPath,
    cancel: &CancellationToken,
) -> Outcome<()> {
    for folder in at.ancestors() {
        if made.contains(&folder) {
            continue;
        }
        let make = || async { wire.store().make_folder(&folder, None).await };
        match super::repeat(wire, cancel, 0, make).await {
            Ok(_) => {}
            Err(fault) if fault.error.kind() == ErrorKind::Changed => {}
            Err(fault) => return Err(fault),
        }
        made.insert(folder);
    }
    Ok(())
}

impl Parents {
    /// Makes the folders above a path below the reserved name.
    pub(super) async fn make_above(&self, session: &Shared, at: &SyncPath) -> Outcome<()> {
        if session.facts().flat {
            return Ok(());
        }
        let mut made = self.made.lock().await;
        if made.len() > MOST {
            made.clear();
        }
        make_above(&session.remote.wire, &mut made, at, &session.options.cancel).await
    }

    /// The place for a page; whoever needs it first fills it.
    fn page(&self, prefix: &str) -> Arc<OnceCell<Page>> {
        let mut pages = lock(&self.pages);
        if pages.len() > MOST_PAGES {
            pages.clear();
        }
        Arc::clone(pages.entry(prefix.to_owned()).or_default())
    }

    pub(super) async fn forget_made(&self) {
        self.made.lock().await.clear();
    }

    /// The folder is gone or may be.
    pub(super) fn forget(&self, path: &SyncPath) {
        lock(&self.real).remove(path);
    }

    pub(super) fn remember(&self, path: &SyncPath) {
        let mut real = lock(&self.real);
        if real.len() > MOST {
            real.clear();
        }
        real.insert(path.clone());
    }
}

impl Shared {
    /// Refuses a path that leads through a link, where there are links.
    pub(super) async fn check_above(&self, operation: &'static str, path: &SyncPath) -> Result<()> {
        if !self.facts().links {
            return Ok(());
        }
        for above in path.ancestors() {
            if lock(&self.parents.real).contains(&above) {
                continue;
            }
            match self.remote.wire.stat(&above).await?.map(|found| found.kind) {
                Some(Kind::Folder) => self.parents.remember(&above),
                _ => return Err(self.no_parent(operation, path)),
            }
        }
        Ok(())
    }

    pub(super) fn no_parent(&self, operation: &'static str, path: &SyncPath) -> StorageError {
        let reason = "its folder is missing or is no folder; make it first";
        self.named(
            StorageError::new(ErrorKind::NoParent, operation, reason),
            path,
        )
    }

    /// Whether a new file may have this path. In a flat storage a file and a folder can have one name, and no condition keeps them
    /// apart: the beginning of the listing tells as much as it can at one request a folder.
    pub(super) async fn check_new(&self, operation: &'static str, path: &SyncPath) -> Result<()> {
        if !self.facts().flat {
            return self.check_above(operation, path).await;
        }
        let Some(in_the_way) = self.in_the_way(operation, path).await? else {
            return Ok(());
        };
        // It may be gone by now.
        let found = self.remote.wire.stat(&in_the_way).await?;
        match found.map(|found| found.kind) {
            Some(Kind::Folder) if in_the_way == *path => {
                Err(self.changed(operation, path, "a folder is there"))
            }
            Some(Kind::File) if in_the_way != *path => Err(self.no_parent(operation, path)),
            _ => Ok(()),
        }
    }

    async fn in_the_way(
        &self,
        operation: &'static str,
        path: &SyncPath,
    ) -> Result<Option<SyncPath>> {
        let parent = path.parent().filter(|parent| !parent.is_root());
        let prefixes = ["".to_owned()].into_iter();
        let prefixes = prefixes.chain(parent.iter().map(|parent| format!("{}/", parent.as_str())));
        for prefix in prefixes {
            let cell = self.parents.page(&prefix);
            let page = cell.get_or_try_init(|| self.page(&prefix)).await;
            let page = page.map_err(|fault| self.error(operation, path, fault))?;
            let found = page.in_the_way(path);
            if found.is_some() || page.complete && prefix.is_empty() {
                return Ok(found);
            }
            // Nothing below the folder: a file may have its name.
            if let (true, Some(parent)) = (page.folders.is_empty(), &parent) {
                return Ok(Some(parent.clone()));
            }
        }
        Ok(None)
    }

    async fn page(&self, prefix: &str) -> Outcome<Page> {
        let mut rounds = super::Rounds::default();
        loop {
            let turn = self.remote.wire.turn(0).await;
            let page = self.ask_page(prefix).await;
            drop(turn);
            match page {
                Ok(page) => return Ok(page),
                Err(fault) => {
                    let fault = Fault {
                        unclear: false,
                        ..fault
                    };
                    rounds.pause(fault, &self.options.cancel).await?;
                }
            }
        }
    }

    async fn ask_page(&self, prefix: &str) -> Outcome<Page> {
        let list = List::Keys {
            prefix,
            after: None,
        };
        let mut pages = self.store().list(list).await?;
        let rows = pages.next().await?.unwrap_or_default();
        let complete = rows.len() < FULL_PAGE && pages.next().await?.is_none();
        Ok(Page::of(rows, complete))
    }
}
