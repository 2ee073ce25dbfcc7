//! Ways past us to the same data.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opendal::{ErrorKind, HttpTransporter, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use reqwest::{Client, Method, StatusCode};
use url::Url;
use wl_core::testing::conformance::Editor;

/// A folder that a server serves.
pub struct Folder {
    root: PathBuf,
    /// On the same file system, and not served.
    aside: tempfile::TempDir,
    count: AtomicU64,
}

/// Lets a server that works as another user change this too.
fn open_up(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn make(folder: &Path) {
    if !folder.is_dir() {
        make(folder.parent().unwrap());
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => {
                made.unwrap();
                open_up(folder, 0o777);
            }
        }
    }
}

impl Folder {
    /// The folder `name` below `served`.
    pub fn made(served: &Path, name: &str) -> Self {
        make(&served.join(name));
        Self::seen(served, name)
    }

    /// The folder `name` below `served`, whoever makes it.
    pub fn seen(served: &Path, name: &str) -> Self {
        Self {
            root: served.join(name),
            aside: tempfile::TempDir::new_in(served.parent().unwrap()).unwrap(),
            count: AtomicU64::new(0),
        }
    }
}

#[async_trait]
impl Editor for Folder {
    async fn write(&self, path: &str, content: &[u8]) {
        let (number, to) = (
            self.count.fetch_add(1, Ordering::Relaxed),
            self.root.join(path),
        );
        make(to.parent().unwrap());
        let new = self.aside.path().join(number.to_string());
        std::fs::write(&new, content).unwrap();
        open_up(&new, 0o666);
        std::fs::rename(new, to).unwrap();
    }

    async fn write_in_place(&self, path: &str, content: &[u8]) {
        let to = self.root.join(path);
        match to.is_file() {
            true => std::fs::write(to, content).unwrap(),
            false => self.write(path, content).await,
        }
    }

    async fn remove(&self, path: &str) {
        let at = self.root.join(path);
        match std::fs::symlink_metadata(&at).unwrap().is_dir() {
            true => std::fs::remove_dir_all(at).unwrap(),
            false => std::fs::remove_file(at).unwrap(),
        }
    }

    async fn make_folder(&self, path: &str) {
        make(&self.root.join(path));
    }

    async fn make_link(&self, path: &str, target: &str) {
        let at = self.root.join(path);
        make(at.parent().unwrap());
        std::os::unix::fs::symlink(target, at).unwrap();
    }

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.root.join(path)).ok()
    }
}

/// An object storage through plain, unconditional requests.
pub struct Raw(Operator);

impl Raw {
    pub fn new(scheme: &str, options: &[(&str, &str)]) -> Self {
        opendal::init_default_registry();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let operator = Operator::via_iter(scheme, options.iter().map(owned)).unwrap();
        // Azurite closes idle connections in the very moment in which they are used again.
        let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        let transport = HttpTransporter::new(ReqwestTransport::new(client));
        let context = operator.context().with_http_transport(transport);
        Self(operator.with_context(context))
    }
}

#[async_trait]
impl Editor for Raw {
    async fn write(&self, path: &str, content: &[u8]) {
        self.0.write(path, content.to_vec()).await.unwrap();
    }

    async fn write_in_place(&self, path: &str, content: &[u8]) {
        self.write(path, content).await;
    }

    async fn remove(&self, path: &str) {
        let below = self.0.list_with(&format!("{path}/")).recursive(true).await;
        for entry in below.unwrap() {
            self.0.delete(entry.path()).await.unwrap();
        }
        // Some servers have trouble with the removal of what is a folder to them.
        if self.0.stat(path).await.is_ok_and(|found| found.is_file()) {
            self.0.delete(path).await.unwrap();
        }
    }

    async fn make_folder(&self, _: &str) {
        // Folders that hold nothing are not kept.
    }

    async fn make_link(&self, _: &str, _: &str) {
        unreachable!("object storages keep no links");
    }

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        match self.0.read(path).await {
            Ok(content) => Some(content.to_vec()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("{path}: {error}"),
        }
    }
}

/// A WebDAV client that takes no lock, and waits while somebody else has one. What there is it reads past the server.
pub struct Dav {
    client: Client,
    root: Url,
    folder: Folder,
}

impl Dav {
    pub fn new(root: &str, folder: Folder) -> Self {
        Self {
            client: Client::new(),
            root: Url::parse(root).unwrap(),
            folder,
        }
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.root.clone();
        url.path_segments_mut().unwrap().extend(path.split('/'));
        url
    }

    async fn send(&self, method: &str, path: &str, content: &[u8]) -> StatusCode {
        loop {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let request = self.client.request(method, self.at(path));
            let answer = request.body(content.to_vec()).send().await.unwrap();
            if answer.status() != StatusCode::LOCKED {
                return answer.status();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[async_trait]
impl Editor for Dav {
    async fn write(&self, path: &str, content: &[u8]) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.make_folder(above).await;
        }
        let status = self.send("PUT", path, content).await;
        assert!(status.is_success(), "PUT {path}: {status}");
    }

    async fn write_in_place(&self, path: &str, content: &[u8]) {
        self.write(path, content).await;
    }

    async fn remove(&self, path: &str) {
        let status = self.send("DELETE", path, b"").await;
        assert!(status.is_success(), "DELETE {path}: {status}");
    }

    async fn make_folder(&self, path: &str) {
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            let status = self.send("MKCOL", &path[..end], b"").await;
            let made = status.is_success() || status == StatusCode::METHOD_NOT_ALLOWED;
            assert!(made, "MKCOL {path}: {status}");
        }
    }

    async fn make_link(&self, path: &str, target: &str) {
        self.folder.make_link(path, target).await;
    }

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.folder.read(path).await
    }
}
