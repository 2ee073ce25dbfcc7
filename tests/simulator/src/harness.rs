//! Any backend as a storage of a simulated world: what its tests of the contract have is enough.

use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use wl_core::model::{Kind, SyncPath};
use wl_core::storage::{ListRequest, Row, StorageBackend};
use wl_core::testing::conformance::{Editor, Harness};

use crate::Dice;
use crate::judge::Kept;
use crate::plan::Edit;
use crate::site::{Shown, Site, Tree};

/// A storage of a simulated world that is made of a [`Harness`].
///
/// Every process gets a handle of its own ([`Harness::second`]). Edits are made by [`Harness::editor`], which is asked only for what can be done; a
/// move is a write and a removal, and no program keeps a file open. What the trash tells no hash of counts as lost. All calls are made on a thread of
/// their own, with a runtime of its own, so that a backend may wait for whatever it likes.
///
/// A process that dies drops its handle and its sessions. A backend that is tidied up by that, and would not be by a death, is
/// better served by a [`Site`] of its own.
pub struct HarnessSite<H>(H);

impl<H> fmt::Debug for HarnessSite<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HarnessSite")
    }
}

impl<H: Harness> HarnessSite<H> {
    /// The storage of this harness.
    pub fn new(harness: H) -> Self {
        Self(harness)
    }

    async fn shown(&self) -> Tree {
        let backend = self.0.backend();
        let request = ListRequest::everything(std::env::temp_dir());
        let mut listing = backend.list(request).await.unwrap();
        let mut tree = Tree::new();
        while let Some(rows) = listing.next().await.unwrap() {
            for row in rows {
                if let Row::Present(entry) = row {
                    let path = entry.path.as_str().to_owned();
                    let shown = match entry.meta.kind {
                        Kind::Folder => Shown::Folder,
                        Kind::Link => Shown::Link(entry.meta.link.unwrap_or_default().into()),
                        Kind::File => file(&*backend, &entry.path).await,
                    };
                    tree.insert(path, shown);
                }
            }
        }
        tree
    }

    async fn do_edit(&self, edit: &Edit) {
        let (tree, editor) = (self.shown().await, self.0.editor());
        let is_file = |path: &str| matches!(tree.get(path), Some(Shown::File(_)));
        for (path, content) in edit.files().into_iter().flatten() {
            match content {
                Some(content) if has_room(&tree, &path) => editor.write(&path, &content).await,
                None if is_file(&path) => editor.remove(&path).await,
                _ => {}
            }
        }
        match edit {
            Edit::Write(path, content) if has_room(&tree, path) => {
                editor.write(path, &content.bytes()).await;
            }
            Edit::WriteInPlace(path, content) if is_file(path) => {
                editor.write_in_place(path, &content.bytes()).await;
            }
            Edit::Remove(path) if tree.contains_key(path) => editor.remove(path).await,
            Edit::Rename(from, to) if can_move(&tree, from, to) => {
                rename(&tree, &*editor, from, to).await;
            }
            Edit::MakeFolder(path) if has_room(&tree, path) && !tree.contains_key(path) => {
                editor.make_folder(path).await;
            }
            Edit::Link(path, target)
                if self.0.backend().capabilities().links && has_room(&tree, path) =>
            {
                if tree.contains_key(path) {
                    editor.remove(path).await;
                }
                editor.make_link(path, target).await;
            }
            Edit::Touch(path) if is_file(path) => {
                let content = editor.read(path).await.unwrap_or_default();
                editor.write(path, &content).await;
            }
            _ => {}
        }
    }
}

async fn file(backend: &dyn StorageBackend, path: &SyncPath) -> Shown {
    let hashed = backend.hash(path, &CancellationToken::new()).await;
    Shown::File(hashed.unwrap().hash)
}

/// Whether a file can be made at a path: no folder is there, and what is above are folders.
fn has_room(tree: &Tree, path: &str) -> bool {
    let above = path.match_indices('/').map(|(at, _)| &path[..at]);
    let mut above = above.filter_map(|folder| tree.get(folder));
    tree.get(path) != Some(&Shown::Folder) && above.all(|shown| *shown == Shown::Folder)
}

fn can_move(tree: &Tree, from: &str, to: &str) -> bool {
    let inside = to
        .strip_prefix(from)
        .is_some_and(|rest| rest.starts_with('/'));
    tree.contains_key(from) && !tree.contains_key(to) && !inside && has_room(tree, to)
}

async fn rename(tree: &Tree, editor: &dyn Editor, from: &str, to: &str) {
    for (path, shown) in tree {
        let Some(rest) = path.strip_prefix(from) else {
            continue;
        };
        if !rest.is_empty() && !rest.starts_with('/') {
            continue;
        }
        let to = format!("{to}{rest}");
        match shown {
            Shown::Folder => editor.make_folder(&to).await,
            Shown::Link(target) => editor.make_link(&to, target).await,
            Shown::File(_) => {
                let content = editor.read(path).await.unwrap_or_default();
                editor.write(&to, &content).await;
            }
        }
    }
    editor.remove(from).await;
}

/// Waits for `work` on a thread of its own: the one of the history waits for nothing real.
fn apart<T: Send>(work: impl Future<Output = T> + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(work)
    };
    let done = std::thread::scope(|scope| scope.spawn(run).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl<H: Harness> Site for HarnessSite<H> {
    fn backend(&self) -> Arc<dyn StorageBackend> {
        self.0.second()
    }

    fn edit(&self, edit: &Edit) {
        apart(self.do_edit(edit));
    }

    fn tree(&self) -> Tree {
        apart(self.shown())
    }

    fn kept(&self) -> Vec<Kept> {
        let items = apart(async { self.0.backend().trash_list().await }).unwrap();
        let kept = items.into_iter().filter_map(|item| {
            Some(Kept {
                content: item.hash?,
                claimed: item.state.is_claimed(),
            })
        });
        kept.collect()
    }

    fn crash(&self, _: &mut Dice) {}

    fn age(&self) {
        apart(self.0.settle());
    }
}
