//! The connection breaks at every request of every operation: before the server gets it, and after it carried it out.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::*;
use crate::sftp::connection::Ends;
use crate::sftp::dial::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The request does not arrive.
    Before,
    /// It is carried out, and the answer does not arrive.
    After,
}

/// Leads to a server, and cuts the line at a request.
#[derive(Clone, Debug)]
struct Cutter {
    /// Requests that still pass; negative when it has cut.
    left: Arc<AtomicI64>,
    cut: Cut,
}

#[async_trait]
impl Dial for Cutter {
    async fn dial(&self) -> Result<Ends, Failure> {
        let server = server().dial().await?;
        let (to, up) = tokio::io::duplex(64 * 1024);
        let (down, from) = tokio::io::duplex(64 * 1024);
        let lost = Arc::new(AtomicI64::new(-1));
        let (this, losing) = (self.clone(), Arc::clone(&lost));
        let (to_server, from_server) = (server.to, server.from);
        tokio::spawn(async move { this.pass_up(up, to_server, &losing).await });
        let child = server.child;
        tokio::spawn(async move {
            pass_down(from_server, down, &lost).await;
            drop(child);
        });
        Ok(Ends {
            to: Box::new(to),
            from: Box::new(from),
            complaints: None,
            child: None,
            silence: server.silence,
        })
    }
}

async fn frame(from: &mut (impl AsyncRead + Unpin)) -> Option<(i64, Vec<u8>)> {
    let length = from.read_u32().await.ok()?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.resize(4 + length as usize, 0);
    from.read_exact(&mut bytes[4..]).await.ok()?;
    let id = u32::from_be_bytes(bytes[5..9].try_into().expect("four"));
    Some((i64::from(id), bytes))
}

impl Cutter {
    async fn pass_up(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        lost: &AtomicI64,
    ) {
        let mut greeting = true;
        while let Some((id, bytes)) = frame(&mut from).await {
            let last = !std::mem::replace(&mut greeting, false)
                && self.left.fetch_sub(1, Ordering::SeqCst) == 0;
            if last && self.cut == Cut::Before {
                return;
            }
            if last {
                lost.store(id, Ordering::SeqCst);
            }
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }
}

async fn pass_down(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    lost: &AtomicI64,
) {
    let mut greeting = true;
    while let Some((id, bytes)) = frame(&mut from).await {
        let greets = std::mem::replace(&mut greeting, false);
        if (!greets && id == lost.load(Ordering::SeqCst)) || to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// What a user sees: all but what is below the reserved name.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut tree = BTreeMap::new();
    for entry in std::fs::read_dir(root).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("UTF-8");
        let kind = entry.file_type().expect("a type");
        if name == wl_core::model::RESERVED {
            continue;
        }
        let what = if kind.is_symlink() {
            let target = std::fs::read_link(entry.path()).expect("a target");
            format!("link to {}", target.display())
        } else if kind.is_dir() {
            "folder".to_owned()
        } else {
            use std::os::unix::fs::PermissionsExt;
            let content = std::fs::read(entry.path()).expect("content");
            let mode = entry.metadata().expect("metadata").permissions().mode();
            format!("{} {:o}", String::from_utf8_lossy(&content), mode & 0o777)
        };
        tree.insert(name, what);
    }
    tree
}

fn prepare(root: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(root.join("a"), "old").expect("file");
    let mode = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(root.join("a"), mode).expect("mode");
    std::os::unix::fs::symlink("a", root.join("l")).expect("link");
    std::fs::create_dir(root.join("f")).expect("folder");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Create,
    Replace,
    Upload,
    Move,
    MoveLink,
    Copy,
    CopyOver,
    Remove,
    RemoveFolder,
    MakeFolder,
    Link,
    Mode,
    Stat,
    List,
    Read,
}

impl Doing {
    const ALL: [Self; 15] = [
        Self::Create,
        Self::Replace,
        Self::Upload,
        Self::Move,
        Self::MoveLink,
        Self::Copy,
        Self::CopyOver,
        Self::Remove,
        Self::RemoveFolder,
        Self::MakeFolder,
        Self::Link,
        Self::Mode,
        Self::Stat,
        Self::List,
        Self::Read,
    ];

    async fn run(self, store: &SftpStore) -> Outcome<()> {
        let attributes = Attributes {
            mode: Some(Mode::new(0o600)),
            ..Attributes::default()
        };
        let new = "new".repeat(30_000);
        let none = &Condition::None;
        let (a, b, l) = (path("a"), path("b"), path("l"));
        match self {
            Self::Create => put(store, "b", new.as_bytes(), &attributes, &Condition::Absent)
                .await
                .map(drop),
            Self::Replace => put(store, "a", new.as_bytes(), &attributes, none)
                .await
                .map(drop),
            Self::Upload => upload(store, &new, &attributes).await,
            Self::Move => store.rename(&a, none, &b).await.map(drop),
            Self::MoveLink => store.rename(&l, none, &b).await.map(drop),
            Self::Copy => store.copy(&a, None, &b, true).await.map(drop),
            Self::CopyOver => store.copy(&a, None, &a, false).await.map(drop),
            Self::Remove => store.remove(&a, none).await,
            Self::RemoveFolder => store.remove_folder(&path("f")).await,
            Self::MakeFolder => {
                let made = store.make_folder(&b, Some(Mode::new(0o777))).await;
                made.map(drop)
            }
            Self::Link => store.put_link(&b, "target").await.map(drop),
            Self::Mode => store.set_mode(&a, Mode::new(0o600)).await.map(drop),
            Self::Stat => store.stat(&l).await.map(drop),
            Self::Read => read(store, "a", 0..3)
                .await
                .map(|read| assert_eq!(read, b"old")),
            Self::List => {
                let mut pages = store.list(List::Folder(&SyncPath::root())).await?;
                while pages.next().await?.is_some() {}
                Ok(())
            }
        }
    }
}

async fn upload(store: &SftpStore, new: &str, attributes: &Attributes) -> Outcome<()> {
    let request = UploadRequest {
        path: &path("a"),
        size: new.len() as u64,
        attributes,
        condition: &Condition::None,
        scratch: &scratch(),
    };
    let mut upload = store.upload(request).await?;
    upload.write(Bytes::copy_from_slice(new.as_bytes())).await?;
    upload.finish().await?;
    upload.commit().await.map(drop)
}

/// Cuts at request `number`; whether it came to that.
async fn cut_at(doing: Doing, cut: Cut, number: i64, done: &BTreeMap<String, String>) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path());
    let before = tree(folder.path());
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let cutter = Cutter {
        left: Arc::clone(&left),
        cut,
    };
    let store = store_at(Box::new(cutter), folder.path()).await;
    left.store(number, Ordering::SeqCst);
    let outcome = doing.run(&store).await;
    let has_cut = left.swap(i64::MAX, Ordering::SeqCst) < 0;
    let after = tree(folder.path());
    let what = format!("{doing:?}, {cut:?} request {number}: {outcome:?}, {after:?}");
    let mut both = before.clone();
    both.extend(done.clone());
    match outcome {
        Ok(()) => assert_eq!(&after, done, "{what}"),
        Err(fault) => {
            assert!(has_cut, "{what}");
            assert_eq!(fault.error.kind(), ErrorKind::Temporary, "{what}");
            assert_eq!(fault.again, Again::After(None), "{what}");
            let moving = matches!(doing, Doing::Move | Doing::MoveLink);
            let allowed = after == before || &after == done || (moving && after == both);
            assert!(allowed, "{what}");
            assert!(fault.unclear || after == before, "{what}");
        }
    }
    let again = store.stat(&SyncPath::root()).await;
    assert!(again.expect("connected again").is_some(), "{what}");
    has_cut
}

#[tokio::test]
async fn nothing_is_torn_wherever_the_connection_breaks() {
    for doing in Doing::ALL {
        let whole = tempfile::tempdir().expect("a folder");
        prepare(whole.path());
        let store = store_at(Box::new(server()), whole.path()).await;
        doing.run(&store).await.expect("undisturbed");
        let done = tree(whole.path());
        for cut in [Cut::Before, Cut::After] {
            let mut number = 0;
            while cut_at(doing, cut, number, &done).await {
                number += 1;
            }
            assert!(number > 0, "{doing:?} was never disturbed");
        }
    }
}

/// Leads to a server once, and never again.
#[derive(Clone, Debug, Default)]
struct Gone {
    dialled: Arc<AtomicI64>,
    cut: Arc<AtomicI64>,
}

#[async_trait]
impl Dial for Gone {
    async fn dial(&self) -> Result<Ends, Failure> {
        match self.dialled.fetch_add(1, Ordering::SeqCst) {
            0 => {
                let mut ends = server().dial().await?;
                let (to, up) = tokio::io::duplex(64);
                let server = std::mem::replace(&mut ends.to, Box::new(to));
                let cut = Arc::clone(&self.cut);
                tokio::spawn(async move { pass_until(&cut, up, server).await });
                Ok(ends)
            }
            _ => Err(Failure {
                kind: ErrorKind::Unavailable,
                reason: "nobody is there".to_owned(),
                passes: true,
            }),
        }
    }
}

async fn pass_until(
    cut: &AtomicI64,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) {
    while let Some((_, bytes)) = frame(&mut from).await {
        if cut.load(Ordering::SeqCst) == 1 {
            return;
        }
        to.write_all(&bytes).await.expect("the server listens");
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_not_dialled_for_every_path() {
    let folder = tempfile::tempdir().expect("a folder");
    let gone = Gone::default();
    let store = store_at(Box::new(gone.clone()), folder.path()).await;
    gone.cut.store(1, Ordering::SeqCst);
    let ask = || async { store.stat(&path("x")).await };
    // The first finds out that the line is cut.
    ask().await.expect_err("a fault");
    let dialled = gone.dialled.load(Ordering::SeqCst);
    for _ in 0..100 {
        assert_eq!(kind(ask().await), ErrorKind::Unavailable);
    }
    // Once in a while it is: a busy machine may take some seconds for this.
    assert!(gone.dialled.load(Ordering::SeqCst) < dialled + 20);
}
