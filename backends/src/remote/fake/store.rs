//! The fake as a store.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use wl_core::model::{ContentHash, Kind, Mode, SyncPath};
use wl_core::storage::ErrorKind;

use super::{Body, FakeStore, Sums, refuse};
use crate::remote::store::{
    Attributes, Condition, Facts, Found, List, Listed, Outcome, Pages, Put, Reading, Store, Upload,
    UploadRequest,
};

struct FakePages {
    store: FakeStore,
    rows: std::vec::IntoIter<Listed>,
}

#[async_trait]
impl Pages for FakePages {
    async fn next(&mut self) -> Outcome<Option<Vec<Listed>>> {
        let rows = &mut self.rows;
        let page = self.store.settings.page;
        self.store
            .call("next", "", |_| {
                let rows: Vec<_> = rows.take(page).collect();
                Ok(Some(rows).filter(|rows| !rows.is_empty()))
            })
            .await
    }
}

struct FakeUpload {
    store: FakeStore,
    path: SyncPath,
    attributes: Attributes,
    condition: Condition,
    content: Vec<u8>,
}

#[async_trait]
impl Upload for FakeUpload {
    async fn write(&mut self, piece: Bytes) -> Outcome<()> {
        let content = &mut self.content;
        let write = |_: &mut super::World| {
            content.extend_from_slice(&piece);
            Ok(())
        };
        self.store.call("write", self.path.as_str(), write).await
    }

    async fn finish(&mut self) -> Outcome<()> {
        self.store
            .call("finish", self.path.as_str(), |_| Ok(()))
            .await
    }

    async fn commit(&mut self) -> Outcome<Found> {
        let path = self.path.as_str();
        let body = Body::File(self.content.clone().into());
        let commit =
            |world: &mut super::World| world.put(path, body, &self.attributes, &self.condition);
        self.store.call("commit", path, commit).await
    }

    async fn abort(&mut self) -> Outcome<()> {
        self.store
            .call("abort", self.path.as_str(), |_| Ok(()))
            .await
    }
}

#[async_trait]
impl Store for FakeStore {
    fn facts(&self) -> &Facts {
        &self.settings.facts
    }

    fn location(&self) -> &str {
        &self.location
    }

    fn identity(&self) -> &str {
        &self.location
    }

    fn server(&self) -> &str {
        &self.location
    }

    fn refuses(&self, path: &SyncPath) -> Option<String> {
        let odd = path.as_str().contains('\u{7}');
        odd.then(|| "a bell rings; rename it".to_owned())
    }

    async fn list(&self, list: List<'_>) -> Outcome<Box<dyn Pages>> {
        let text = match list {
            List::Keys { prefix, .. } => prefix.to_owned(),
            List::Folder(path) => path.as_str().to_owned(),
        };
        let listed = |name: &str, found: Found| Listed {
            name: name.to_owned(),
            found: Found {
                noted: Default::default(),
                operation: None,
                ..found
            },
            lossy: false,
            special: false,
        };
        let order = self.settings.order;
        let follow = |one: &str, other: &str| {
            order
                .compare(one, other)
                .unwrap_or(one.len().cmp(&other.len()))
        };
        let mut rows: Vec<Listed> = self
            .call("list", &text, |world| match list {
                List::Keys { prefix, after } => {
                    let wanted = |name: &str| {
                        name.starts_with(prefix)
                            && after.is_none_or(|after| follow(after, name).is_lt())
                    };
                    let nodes = world.nodes().filter(|node| wanted(&node.name));
                    Ok(nodes
                        .map(|node| listed(&node.name, world.found(node)))
                        .collect())
                }
                List::Folder(path) => {
                    let folder = world.node(path.as_str());
                    if folder.is_none_or(|node| node.body != Body::Folder) {
                        return Err(refuse(ErrorKind::NotFound));
                    }
                    let inside = |name: &str| {
                        let child = SyncPath::new(name).ok()?;
                        (child.parent().as_ref() == Some(path)).then(|| child.name().to_owned())
                    };
                    let rows = world.nodes().filter_map(|node| {
                        inside(&node.name).map(|name| listed(&name, world.found(node)))
                    });
                    Ok(rows.collect())
                }
            })
            .await?;
        rows.sort_by(|one, other| follow(&one.name, &other.name));
        Ok(Box::new(FakePages {
            store: self.clone(),
            rows: rows.into_iter(),
        }))
    }

    async fn stat(&self, path: &SyncPath) -> Outcome<Option<Found>> {
        let path = path.as_str();
        self.call("stat", path, |world| Ok(world.stat(path))).await
    }

    async fn read(
        &self,
        path: &SyncPath,
        range: Range<u64>,
        tag: Option<&str>,
    ) -> Outcome<Reading> {
        let path = path.as_str();
        let read = |world: &mut super::World| {
            let node = world
                .node(path)
                .ok_or_else(|| refuse(ErrorKind::NotFound))?;
            let found = world.found(node);
            if tag.is_some() && found.tag.as_deref() != tag {
                return Err(refuse(ErrorKind::Busy));
            }
            let Body::File(content) = &node.body else {
                return Err(refuse(ErrorKind::NotFound));
            };
            let end = (range.end as usize).min(content.len());
            Ok((content.slice((range.start as usize).min(end)..end), found))
        };
        let (content, found) = self.call("read", path, read).await?;
        let pieces: Vec<_> = content
            .chunks(32 * 1024)
            .map(|c| Ok(Bytes::copy_from_slice(c)))
            .collect();
        Ok(Reading {
            found: Some(found),
            pieces: stream::iter(pieces).boxed(),
        })
    }

    async fn put(&self, put: Put<'_>) -> Outcome<Found> {
        let path = put.path.as_str();
        let body = Body::File(put.content);
        let late = self.settings.late;
        self.call("put", path, |world| {
            world.compare(&body, put.attributes)?;
            let mut found = world.put(path, body, put.attributes, put.condition)?;
            found.tag = found.tag.filter(|_| !late);
            Ok(found)
        })
        .await
    }

    fn verifies(&self) -> bool {
        self.settings.sums != Sums::None
    }

    async fn verified_hash(&self, path: &SyncPath, tag: &str) -> Outcome<Option<ContentHash>> {
        let path = path.as_str();
        self.call("sum", path, |world| Ok(world.sum(path, tag)))
            .await
    }

    async fn upload(&self, request: UploadRequest<'_>) -> Outcome<Box<dyn Upload>> {
        let fits = request.size <= self.settings.largest;
        self.call("upload", request.path.as_str(), |_| match fits {
            true => Ok(()),
            false => Err(refuse(ErrorKind::Unsupported)),
        })
        .await?;
        Ok(Box::new(FakeUpload {
            store: self.clone(),
            path: request.path.clone(),
            attributes: request.attributes.clone(),
            condition: request.condition.clone(),
            content: Vec::new(),
        }))
    }

    async fn put_link(&self, path: &SyncPath, target: &str) -> Outcome<Found> {
        let path = path.as_str();
        let link = |world: &mut super::World| {
            world.parent(path)?;
            if world.node(path).is_some() {
                return Err(refuse(ErrorKind::Changed));
            }
            Ok(world.insert(path, Body::Link(target.to_owned()), &Attributes::default()))
        };
        self.call("put link", path, link).await
    }

    async fn remove(&self, path: &SyncPath, condition: &Condition) -> Outcome<()> {
        let path = path.as_str();
        let remove = |world: &mut super::World| {
            match world.node(path) {
                None => return Err(refuse(ErrorKind::NotFound)),
                Some(node) if node.body == Body::Folder => return Err(refuse(ErrorKind::Changed)),
                Some(_) => world.check(path, condition, false)?,
            }
            world.take(path);
            Ok(())
        };
        self.call("remove", path, remove).await
    }

    async fn copy(
        &self,
        from: &SyncPath,
        tag: Option<&str>,
        to: &SyncPath,
        absent: bool,
    ) -> Outcome<Found> {
        let (from, to) = (from.as_str(), to.as_str());
        let copy = |world: &mut super::World| {
            let node = world
                .node(from)
                .ok_or_else(|| refuse(ErrorKind::NotFound))?
                .clone();
            world.parent(to)?;
            if let Some(tag) = tag {
                world.check(from, &Condition::Is(tag.into()), true)?;
            }
            if absent {
                world.check(to, &Condition::Absent, true)?;
            }
            Ok(world.place(to, node, false))
        };
        self.call("copy", to, copy).await
    }

    async fn rename(
        &self,
        from: &SyncPath,
        condition: &Condition,
        to: &SyncPath,
    ) -> Outcome<Found> {
        let (from, to) = (from.as_str(), to.as_str());
        let rename = |world: &mut super::World| {
            let node = world
                .node(from)
                .ok_or_else(|| refuse(ErrorKind::NotFound))?
                .clone();
            world.check(from, condition, false)?;
            world.parent(to)?;
            if world.node(to).is_some() {
                return Err(refuse(ErrorKind::Changed));
            }
            world.take(from);
            Ok(world.place(to, node, true))
        };
        self.call("rename", to, rename).await
    }

    async fn make_root(&self) -> Outcome<()> {
        match self.settings.makes_root && self.world().node("").is_none() {
            true => self.make_folder(&SyncPath::root(), None).await.map(drop),
            false => Ok(()),
        }
    }

    async fn make_folder(&self, path: &SyncPath, mode: Option<Mode>) -> Outcome<Found> {
        let path = path.as_str();
        let make = |world: &mut super::World| {
            if world.node(path).is_some() {
                return Err(refuse(ErrorKind::Changed));
            }
            if !path.is_empty() {
                world.parent(path)?;
            }
            let attributes = Attributes {
                mode,
                ..Attributes::default()
            };
            Ok(world.insert(path, Body::Folder, &attributes))
        };
        self.call("make folder", path, make).await
    }

    async fn remove_folder(&self, path: &SyncPath) -> Outcome<()> {
        let path = path.as_str();
        let remove = |world: &mut super::World| {
            if !world.is_empty(path) {
                return Err(refuse(ErrorKind::NotEmpty));
            }
            match world.stat(path).map(|found| found.kind) {
                Some(Kind::Folder) => {
                    world.take(path);
                    Ok(())
                }
                _ => Err(refuse(ErrorKind::NotFound)),
            }
        };
        self.call("remove folder", path, remove).await
    }

    async fn set_mode(&self, path: &SyncPath, mode: Mode) -> Outcome<Found> {
        let path = path.as_str();
        self.call("set mode", path, |world| world.chmod(path, mode))
            .await
    }

    async fn flush(&self) -> Outcome<()> {
        self.call("flush", "", |_| Ok(())).await
    }
}
