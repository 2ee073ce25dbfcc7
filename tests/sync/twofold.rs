//! A storage of flat keys can hold a file `a` and a file `a/b` at once. On a tree that cannot be: nothing at or below `a` is touched.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use wl_core::model::{Direction, Entry, Kind, Meta, Side, SyncPath, Token};
use wl_core::storage::*;

use crate::world::World;

/// Lists these keys too.
#[derive(Debug)]
struct Twofold(Arc<dyn StorageBackend>, &'static [&'static str]);

struct AllAtOnce(Option<Vec<Row>>);

#[async_trait]
impl Listing for AllAtOnce {
    async fn next(&mut self) -> Result<Option<Vec<Row>>> {
        Ok(self.0.take())
    }
}

fn also(key: &str) -> Row {
    let folder = key.ends_with('/');
    Row::Present(Entry {
        path: SyncPath::new(key.trim_end_matches('/')).unwrap(),
        meta: Meta {
            kind: if folder { Kind::Folder } else { Kind::File },
            size: 0,
            mtime: None,
            mode: None,
            token: Token::new(if folder { "" } else { "also" }),
            settled: true,
            file_id: None,
            hash: None,
            link: None,
        },
    })
}

#[async_trait]
impl StorageBackend for Twofold {
    fn type_name(&self) -> &'static str {
        self.0.type_name()
    }
    fn location(&self) -> &str {
        self.0.location()
    }
    fn identity(&self) -> &str {
        self.0.identity()
    }
    async fn root_marker(&self) -> Result<RootMarker> {
        self.0.root_marker().await
    }
    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }
    async fn list(&self, request: ListRequest) -> Result<Box<dyn Listing>> {
        let mut listing = self.0.list(request).await?;
        let mut rows: Vec<_> = self.1.iter().map(|key| also(key)).collect();
        while let Some(batch) = listing.next().await? {
            rows.extend(batch);
        }
        rows.sort_by_key(Row::key);
        Ok(Box::new(AllAtOnce(Some(rows))))
    }
    async fn stat(&self, path: &SyncPath) -> Result<Option<Meta>> {
        self.0.stat(path).await
    }
    async fn hash(&self, path: &SyncPath, cancel: &CancellationToken) -> Result<Hashed> {
        self.0.hash(path, cancel).await
    }
    async fn read(&self, request: ReadRequest) -> Result<Box<dyn ContentReader>> {
        self.0.read(request).await
    }
    async fn read_small(&self, requests: Vec<ReadRequest>) -> Vec<Result<SmallRead>> {
        self.0.read_small(requests).await
    }
    async fn begin(&self, options: SessionOptions) -> Result<Arc<dyn WriteSession>> {
        self.0.begin(options).await
    }
    async fn trash_list(&self) -> Result<Vec<TrashItem>> {
        self.0.trash_list().await
    }
    async fn trash_claimed(&self) -> Result<Vec<TrashItem>> {
        self.0.trash_claimed().await
    }
    async fn trash_restore(&self, id: &TrashId, to: &SyncPath) -> Result<()> {
        self.0.trash_restore(id, to).await
    }

    async fn trash_empty(&self, options: SessionOptions) -> Result<()> {
        self.0.trash_empty(options).await
    }
}

#[tokio::test]
async fn a_file_beside_its_own_folder_holds_back_both() {
    for (what, keys) in [
        ("file", &["file/", "file/new"][..]),
        ("folder", &["folder"]),
    ] {
        for side in Side::BOTH {
            for direction in [Direction::TwoWay, Direction::OneWay, Direction::Mirror] {
                let world = World::new();
                for path in ["file", "file-2", "folder/a", "folder/b", "z"] {
                    world.storages.source.write_file(path, path).unwrap();
                }
                world.sync(direction).await;
                let [one, other] = [side, side.other()];
                world.storages[one].write_file("z", "edited").unwrap();
                world.storages[one]
                    .write_file("folder/a", "edited")
                    .unwrap();
                world.storages[other].write_file("file", "edited").unwrap();
                world.storages[other].remove("folder/b").unwrap();
                let before = [one, other].map(|side| world.storages[side].snapshot());
                let options = World::options(direction);
                let around = |at, storage| match at == one {
                    true => Arc::new(Twofold(storage, keys)) as Arc<dyn StorageBackend>,
                    false => storage,
                };
                let report = world.run_over(options, around).await.unwrap();
                let told: Vec<_> = report.problems.iter().map(|p| p.path.as_str()).collect();
                assert_eq!(told, [what], "{direction:?} {one}: {report:?}");
                let after = [one, other].map(|side| world.storages[side].snapshot());
                let below = format!("{what}/");
                for (before, after) in before.iter().zip(&after) {
                    let mut keys: Vec<_> = before.keys().chain(after.keys()).collect();
                    keys.retain(|key| *key == what || key.starts_with(&below));
                    for key in keys {
                        assert_eq!(before.get(key), after.get(key), "{key} {direction:?} {one}");
                    }
                }
            }
        }
    }
}
