//! Every request of every change fails once, is lost, or loses its reply; and an editor comes between any two of them.

use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wl_core::model::{ContentHash, SyncPath};
use wl_core::storage::*;

use super::conformance::connect;
use crate::remote::RemoteBackend;
use crate::remote::fake::{FakeSettings, FakeStore, Trouble};

const ALL_TROUBLE: [Trouble; 3] = [Trouble::Busy, Trouble::LostRequest, Trouble::LostReply];

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Create,
    Replace,
    ReplaceByHash,
    Remove,
    RemoveByHash,
    Rename,
    RenameByHash,
    Large,
    MakeFolder,
    Link,
}

const CHANGES: [Change; 10] = [
    Change::Create,
    Change::Replace,
    Change::ReplaceByHash,
    Change::Remove,
    Change::RemoveByHash,
    Change::Rename,
    Change::RenameByHash,
    Change::Large,
    Change::MakeFolder,
    Change::Link,
];

fn stores() -> Vec<(&'static str, FakeSettings)> {
    vec![
        ("s3", FakeSettings::s3()),
        ("lying s3", FakeSettings::lying_s3()),
        ("webdav", FakeSettings::webdav()),
        ("sftp", FakeSettings::sftp()),
        ("ftp", FakeSettings::ftp()),
    ]
}

fn path(text: &str) -> SyncPath {
    SyncPath::new(text).unwrap()
}

/// A storage with `d/base` in it, whose session has begun and has already written.
struct Scene {
    store: FakeStore,
    backend: RemoteBackend,
    session: Arc<dyn WriteSession>,
    expected: Expected,
    change: Change,
}

impl Scene {
    async fn new(settings: FakeSettings, change: Change) -> Option<Self> {
        let store = FakeStore::new(settings);
        let backend = connect(&store).await;
        let able = match change {
            Change::Rename | Change::RenameByHash => backend.capabilities().rename,
            Change::MakeFolder => backend.capabilities().empty_folders,
            Change::Link => backend.capabilities().links,
            _ => true,
        };
        if !able {
            return None;
        }
        store.world().edit("d/base", b"base");
        let meta = backend.stat(&path("d/base")).await.unwrap().unwrap();
        let by_hash = matches!(
            change,
            Change::ReplaceByHash | Change::RemoveByHash | Change::RenameByHash
        );
        let expected = Expected {
            token: (!by_hash).then(|| meta.token.clone()),
            ..Expected::of(&meta, Some(ContentHash::of(b"base")))
        };
        let options = SessionOptions {
            run: "run".to_owned(),
            durability: Durability::Batch,
            trash_keep: TrashKeep::default(),
            cancel: CancellationToken::new(),
        };
        let session = backend.begin(options).await.unwrap();
        store.quiet();
        Some(Self {
            store,
            backend,
            session,
            expected,
            change,
        })
    }

    fn request(&self, payload: Payload, content: &[u8]) -> StageRequest {
        StageRequest {
            path: path(self.at()),
            payload,
            hash: ContentHash::of(content),
            mtime: None,
            mode: None,
        }
    }

    fn at(&self) -> &'static str {
        match self.change {
            Change::Create | Change::Rename | Change::RenameByHash | Change::MakeFolder => "d/new",
            _ => "d/base",
        }
    }

    async fn replace(&self, staged: Staged, expect: Expect) -> Result<()> {
        let path = path(self.at());
        let request = ReplaceRequest {
            path,
            staged,
            expect,
            listed: false,
        };
        self.session
            .replace(vec![request])
            .await
            .remove(0)
            .map(|_| ())
    }

    async fn stage(&self, payload: Payload, content: &[u8]) -> Result<Staged> {
        let request = self.request(payload, content);
        self.session.stage(vec![request]).await.remove(0)
    }

    async fn go(&self) -> Result<()> {
        let (expected, content) = (self.expected.clone(), Bytes::from_static(b"ours!"));
        match self.change {
            Change::Create => {
                let staged = self.stage(Payload::Bytes(content), b"ours!").await?;
                self.replace(staged, Expect::Absent).await
            }
            Change::Replace | Change::ReplaceByHash => {
                let staged = self.stage(Payload::Bytes(content), b"ours!").await?;
                self.replace(staged, Expect::Is(expected)).await
            }
            Change::Link => {
                let staged = self.stage(Payload::Link("somewhere".into()), b"").await?;
                self.replace(staged, Expect::Is(expected)).await
            }
            Change::Large => {
                let expect = Expect::Is(expected);
                let request = self.request(Payload::Bytes(Bytes::new()), b"ours!");
                let mut writer = self.session.stage_large(request, 5, &expect).await?;
                writer.write(content).await?;
                let staged = writer.finish(ContentHash::of(b"ours!")).await?;
                self.replace(staged, expect).await
            }
            Change::Remove | Change::RemoveByHash => {
                let path = path("d/base");
                let request = RemoveRequest { path, expected };
                self.session.remove(vec![request]).await.remove(0)
            }
            Change::Rename | Change::RenameByHash => {
                let (from, to) = (path("d/base"), path("d/new"));
                let request = RenameRequest { from, expected, to };
                self.session
                    .rename(vec![request])
                    .await
                    .remove(0)
                    .map(|_| ())
            }
            Change::MakeFolder => {
                let made = self.session.make_folder(&path("d/new"), None).await;
                made.map(|_| ())
            }
        }
    }

    /// What is at a path, as text.
    fn text(&self, at: &str) -> Option<String> {
        let content = self.store.world().content(at);
        content.map(|content| String::from_utf8(content).unwrap())
    }

    async fn trashed(&self) -> usize {
        self.backend.trash_list().await.unwrap().len()
    }

    /// Panics if the change was not made exactly once.
    async fn assert_done(&self, what: &str) {
        let (base, new) = (self.text("d/base"), self.text("d/new"));
        let (base, new) = (base.as_deref(), new.as_deref());
        let displaced = match self.change {
            Change::Create => {
                assert_eq!((base, new), (Some("base"), Some("ours!")), "{what}");
                0
            }
            Change::Replace | Change::ReplaceByHash | Change::Large => {
                assert_eq!((base, new), (Some("ours!"), None), "{what}");
                1
            }
            Change::Remove | Change::RemoveByHash => {
                assert_eq!((base, new), (None, None), "{what}");
                1
            }
            Change::Rename | Change::RenameByHash => {
                assert_eq!((base, new), (None, Some("base")), "{what}");
                0
            }
            Change::Link => {
                let meta = self.backend.stat(&path("d/base")).await.unwrap().unwrap();
                assert_eq!(meta.link.as_deref(), Some("somewhere"), "{what}");
                1
            }
            Change::MakeFolder => {
                assert!(self.backend.stat(&path("d/new")).await.unwrap().is_some());
                0
            }
        };
        let displaced = if self.backend.capabilities().trash {
            displaced
        } else {
            0
        };
        assert_eq!(self.trashed().await, displaced, "in the trash: {what}");
    }

    async fn assert_not_done(&self, what: &str) {
        assert_eq!(self.text("d/base").as_deref(), Some("base"), "{what}");
        assert_eq!(self.text("d/new"), None, "{what}");
        assert_eq!(self.trashed().await, 0, "in the trash: {what}");
    }
}

/// Does many at once: most of the time they wait before they try again.
pub(super) async fn all<F: Future<Output = ()>>(tasks: Vec<F>) {
    futures::StreamExt::collect::<Vec<()>>(futures::StreamExt::buffer_unordered(
        futures::stream::iter(tasks),
        256,
    ))
    .await;
}

/// How many requests a change is.
async fn requests(settings: FakeSettings, change: Change) -> Option<usize> {
    let scene = Scene::new(settings, change).await?;
    scene.go().await.unwrap();
    let (calls, _) = scene.store.calls();
    scene
        .assert_done(&format!("{change:?} without trouble: {calls:?}"))
        .await;
    Some(calls.len())
}

/// Without a reply, or with a refusal for the moment, a change is made exactly once, or not at all and not acknowledged.
#[tokio::test]
async fn one_failure_makes_no_difference() {
    let mut tasks = Vec::new();
    for (name, settings) in stores() {
        for change in CHANGES {
            let requests = requests(settings, change).await.unwrap_or_default();
            for number in 0..requests {
                tasks.extend(
                    ALL_TROUBLE.map(|trouble| fail(name, settings, change, number, trouble)),
                );
            }
        }
    }
    all(tasks).await;
}

async fn fail(name: &str, settings: FakeSettings, change: Change, number: usize, trouble: Trouble) {
    let scene = Scene::new(settings, change).await.unwrap();
    scene.store.trouble(number, trouble);
    let result = scene.go().await;
    let (calls, fired) = scene.store.calls();
    let what = format!("{name}, {change:?}, {trouble:?} at {number} of {calls:?}: {result:?}");
    assert_eq!(fired, 1, "nothing was tried: {what}");
    scene.store.quiet();
    match result {
        Ok(()) => scene.assert_done(&what).await,
        // A piece that was not sent ends an upload before anything is published.
        Err(_) if change == Change::Large => scene.assert_not_done(&what).await,
        Err(_) => panic!("one failure is one too many: {what}"),
    }
}

/// Whether an edit directly before this request is in the window that a storage without conditions leaves open.
fn in_the_window(call: &str, at: &str) -> bool {
    ["put", "remove", "commit"]
        .iter()
        .any(|name| call == format!("{name} {at}"))
}

/// An editor's version is never lost where the storage compares; elsewhere only directly before the change itself.
#[tokio::test]
async fn an_editor_between_any_two_requests_loses_nothing() {
    let mut tasks = Vec::new();
    for (name, settings) in stores() {
        for change in CHANGES {
            if change == Change::MakeFolder {
                continue;
            }
            let requests = requests(settings, change).await.unwrap_or_default();
            for number in 0..requests {
                let paths = ["d/base", "d/new"];
                tasks.extend(paths.map(|at| edit(name, settings, change, number, at)));
            }
        }
    }
    all(tasks).await;
}

async fn edit(name: &str, settings: FakeSettings, change: Change, number: usize, at: &'static str) {
    let scene = Scene::new(settings, change).await.unwrap();
    scene
        .store
        .before(number, move |world| world.edit(at, b"an edit"));
    let result = scene.go().await;
    let (calls, fired) = scene.store.calls();
    let what = format!("{name}, {change:?}, {at} edited before {number} of {calls:?}: {result:?}");
    assert_eq!(fired, 1, "nothing was tried: {what}");
    scene.store.quiet();
    if let Err(error) = &result {
        let kinds = [ErrorKind::Changed, ErrorKind::NotFound];
        assert!(kinds.contains(&error.kind()), "{what}");
    }
    let atomic = scene.backend.capabilities().cas == CasGrade::Atomic;
    let window = !atomic && in_the_window(&calls[number], at);
    let there = scene.text(at).as_deref() == Some("an edit");
    assert!(
        there || window || trashed(&scene, "an edit"),
        "lost: {what}"
    );
    if atomic {
        assert!(there, "moved away: {what}");
    }
    if result.is_err() && !window {
        assert!(there, "it is not put back: {what}");
    }
    // Only what nobody agreed to give up is claimed, and then it is told.
    let told = !scene.session.stranded().await.is_empty();
    let claimed = !scene.backend.trash_claimed().await.unwrap().is_empty();
    assert_eq!(told, claimed, "{what}");
    if at == "d/new" && result.is_err() {
        assert_eq!(scene.text("d/base").as_deref(), Some("base"), "{what}");
    }
}

/// A reply is lost and an editor comes before the next look: what we displaced is in the trash, what the editor wrote is there. The
/// edit has another size: to a storage without tags two versions of one size in one tick of its clock are the same.
#[tokio::test]
async fn a_lost_reply_and_an_editor_lose_nothing() {
    let mut tasks = Vec::new();
    for (name, settings) in stores() {
        for change in CHANGES {
            let requests = requests(settings, change).await.unwrap_or_default();
            for number in (0..requests).filter(|_| change != Change::MakeFolder) {
                let later = (1..=3).map(|more| number + more);
                tasks.extend(later.map(|edit| lose_and_edit(name, settings, change, number, edit)));
            }
        }
    }
    all(tasks).await;
}

async fn lose_and_edit(
    name: &str,
    settings: FakeSettings,
    change: Change,
    lost: usize,
    number: usize,
) {
    let scene = Scene::new(settings, change).await.unwrap();
    let at = scene.at();
    scene.store.trouble(lost, Trouble::LostReply);
    scene
        .store
        .before(number, move |world| world.edit(at, b"an edit"));
    let result = scene.go().await;
    let (calls, fired) = scene.store.calls();
    let what = format!(
        "{name}, {change:?}, reply {lost} lost and {at} edited before {number} of {calls:?}: {result:?}"
    );
    scene.store.quiet();
    if fired < 2 {
        return;
    }
    let capabilities = scene.backend.capabilities();
    let atomic = capabilities.cas == CasGrade::Atomic;
    let window = !atomic && in_the_window(&calls[number], at);
    let there = scene.text(at).as_deref() == Some("an edit");
    assert!(
        there || window || trashed(&scene, "an edit"),
        "lost: {what}"
    );
    // What was at the path when we wrote, and nobody else overwrote, is kept.
    if in_the_window(&calls[lost], "d/base") && capabilities.trash && !change_renames(change) {
        assert!(trashed(&scene, "base"), "displaced and not kept: {what}");
    }
    if change_renames(change) && at == "d/new" {
        let names = ["d/base", "d/new"];
        let base = names
            .iter()
            .any(|name| scene.text(name).as_deref() == Some("base"));
        // The editor may have come after the rename, and written over what it found.
        assert!(base || there, "the file is nowhere: {what}");
    }
}

fn change_renames(change: Change) -> bool {
    matches!(change, Change::Rename | Change::RenameByHash)
}

/// The wrong version was moved away, and its place is taken before it can go back: it is kept, claimed and told.
#[tokio::test]
async fn what_cannot_go_back_is_claimed() {
    for change in [Change::Remove, Change::RemoveByHash] {
        let dry = Scene::new(FakeSettings::sftp(), change).await.unwrap();
        dry.go().await.unwrap();
        let calls = dry.store.calls().0;
        let moving = calls.iter().position(|call| call.starts_with("rename"));
        let moving = moving.unwrap();
        let scene = Scene::new(FakeSettings::sftp(), change).await.unwrap();
        let edit = |content: &'static [u8]| {
            move |world: &mut crate::remote::fake::World| world.edit("d/base", content)
        };
        scene.store.before(moving, edit(b"edited"));
        scene.store.before(moving + 1, edit(b"another"));
        let result = scene.go().await;
        let what = format!("{:?}: {result:?}", scene.store.calls());
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Changed, "{what}");
        assert_eq!(scene.text("d/base").as_deref(), Some("another"), "{what}");
        assert!(trashed(&scene, "edited"), "{what}");
        let claimed = scene.backend.trash_claimed().await.unwrap();
        assert_eq!(claimed.len(), 1, "{what}");
        assert_eq!(claimed[0].state, TrashState::Rescued);
        assert_eq!(scene.session.stranded().await.len(), 1, "{what}");
    }
}

fn trashed(scene: &Scene, content: &str) -> bool {
    let names: Vec<_> = scene
        .store
        .world()
        .nodes()
        .map(|node| node.name.clone())
        .collect();
    let ours = names.iter().filter(|name| name.starts_with(".wl/"));
    ours.into_iter()
        .any(|name| scene.text(name).as_deref() == Some(content))
}
