//! The servers: how they are reached, by us and past us, and what is expected of them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wl_backends as _;
use wl_core::plugin::{BackendFactory, BackendPlugin, ConnectContext};
use wl_core::storage::{CasGrade, StorageBackend};
use wl_core::testing::conformance::Editor;
use wl_test_servers::services::{self, S3Service, WebDavService};
use wl_test_servers::sftp::SftpServer;

use crate::editors::{Dav, Folder, Raw};

/// A server that was started, or why not.
pub type Started = Result<Server, Box<dyn std::error::Error>>;

/// A root on a server that nobody else uses, and the ways to it.
pub struct Place {
    /// As `wl sync` takes it.
    pub url: String,
    /// The parameters that the URL gives.
    by_url: Value,
    /// The others.
    pub options: Map<String, Value>,
    /// Past us.
    pub editor: Arc<dyn Editor>,
}

/// A running server.
pub struct Server {
    pub name: &'static str,
    pub type_name: &'static str,
    /// What it must turn out to be.
    pub grade: CasGrade,
    /// How long a token takes to settle.
    pub settles: Duration,
    /// Promises that cannot be kept here, and why. They are run all the same and must fail.
    pub known: &'static [(&'static str, &'static str)],
    /// Bytes of the large file in whole runs.
    pub large: usize,
    /// Bytes of the smallest file in whole runs.
    pub least: usize,
    place: Box<dyn Fn(&str) -> Place + Send + Sync>,
    state: TempDir,
}

impl Server {
    fn new(
        name: &'static str,
        type_name: &'static str,
        grade: CasGrade,
        place: impl Fn(&str) -> Place + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            type_name,
            grade,
            settles: Duration::from_millis(2100),
            known: &[],
            large: 30 << 20,
            least: 0,
            place: Box::new(place),
            state: TempDir::new().unwrap(),
        }
    }

    /// The root `name`, new and empty.
    pub fn place(&self, name: &str) -> Place {
        (self.place)(name)
    }

    /// A connection of its own.
    pub async fn connect(&self, place: &Place) -> Arc<dyn StorageBackend> {
        let mut params = place.options.clone();
        params.extend(place.by_url.as_object().unwrap().clone());
        let context = ConnectContext {
            writes: true,
            state_dir: Some(self.state.path().to_owned()),
            ..ConnectContext::default()
        };
        let connected = factory(self.type_name)
            .connect(&Value::Object(params), &context)
            .await;
        connected.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Panics unless a root is where its editor is. Reads only: in a wrong place nothing may be written.
    async fn assert_same_place(&self) {
        let place = self.place("same-place");
        place.editor.write("mark", self.name.as_bytes()).await;
        let mut params = place.options.clone();
        params.extend(place.by_url.as_object().unwrap().clone());
        let connected = factory(self.type_name)
            .connect(&Value::Object(params), &ConnectContext::default())
            .await;
        let backend = connected.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let path = wl_core::model::SyncPath::new("mark").unwrap();
        let hash = backend.hash(&path, &CancellationToken::new()).await;
        let hash = hash.unwrap_or_else(|error| panic!("the root is somewhere else: {error}"));
        let wanted = wl_core::model::ContentHash::of(self.name.as_bytes());
        assert_eq!(hash.hash, wanted, "the root is somewhere else");
    }

    /// The grade that a first connection finds.
    pub async fn grade(&self) -> CasGrade {
        self.assert_same_place().await;
        let place = self.place("grade");
        self.connect(&place).await.capabilities().cas
    }
}

fn factory(name: &str) -> &'static dyn BackendFactory {
    let mut all = inventory::iter::<BackendPlugin>().map(|plugin| plugin.0);
    all.find(|factory| factory.type_name() == name).unwrap()
}

fn options(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// A file of credentials, as the types take it.
fn secret(folder: &Path, content: &Value) -> PathBuf {
    let file = folder.join("credentials.json");
    std::fs::write(&file, content.to_string()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

fn s3(name: &'static str, grade: CasGrade, server: S3Service) -> Started {
    let keys = TempDir::new()?;
    let credentials = json!({"access_key": server.access_key(), "secret_key": server.secret_key()});
    let file = secret(keys.path(), &credentials);
    let place = move |root: &str| {
        let _keys = &keys;
        let url = format!("s3://{}/{root}", server.bucket());
        Place {
            by_url: json!({"s3_url": url}),
            options: options(json!({
                "endpoint_url": server.endpoint(),
                "region": server.region(),
                "credentials_file": file,
            })),
            editor: Arc::new(Raw::new(
                "s3",
                &[
                    ("bucket", server.bucket()),
                    ("endpoint", &server.endpoint()),
                    ("region", server.region()),
                    ("access_key_id", server.access_key()),
                    ("secret_access_key", server.secret_key()),
                    ("disable_config_load", "true"),
                    ("root", root),
                ],
            )),
            url,
        }
    };
    Ok(Server::new(name, "s3", grade, place))
}

/// Why listings of SeaweedFS are refused.
const UNSORTED: &str = "`a-b` comes after `a/b` in its listings, so they are refused";

pub fn seaweedfs() -> Started {
    Ok(Server {
        known: &[
            ("a_listing_is_complete_and_in_order", UNSORTED),
            ("a_scope_lists_only_itself", UNSORTED),
            ("a_listing_starts_after_a_row", UNSORTED),
            ("what_is_excluded_keeps_its_place", UNSORTED),
        ],
        ..s3("seaweedfs", CasGrade::Atomic, services::seaweedfs()?)?
    })
}

pub fn rclone_s3() -> Started {
    s3("rclone_s3", CasGrade::Checked, services::rclone_s3()?)
}

pub fn azurite() -> Started {
    let server = services::Azurite::start()?;
    let keys = TempDir::new()?;
    let file = secret(keys.path(), &json!({"account_key": server.account_key()}));
    let place = move |root: &str| {
        let _keys = &keys;
        Place {
            url: format!("azblob://{}/{root}", server.container()),
            by_url: json!({"blob_container": server.container(), "prefix": root}),
            options: options(json!({
                "endpoint_url": server.endpoint(),
                "account_name": server.account(),
                "credentials_file": file,
            })),
            editor: Arc::new(Raw::new(
                "azblob",
                &[
                    ("container", server.container()),
                    ("endpoint", &server.endpoint()),
                    ("account_name", server.account()),
                    ("account_key", server.account_key()),
                    ("root", root),
                ],
            )),
        }
    };
    Ok(Server::new("azurite", "azblob", CasGrade::Atomic, place))
}

pub fn fake_gcs() -> Started {
    let server = services::FakeGcs::start()?;
    let place = move |root: &str| Place {
        url: format!("gs://{}/{root}", server.bucket()),
        by_url: json!({"bucket": server.bucket(), "prefix": root}),
        options: options(json!({"endpoint_url": server.endpoint(), "anonymous": true})),
        editor: Arc::new(Raw::new(
            "gcs",
            &[
                ("bucket", server.bucket()),
                ("endpoint", &server.endpoint()),
                ("skip_signature", "true"),
                ("disable_config_load", "true"),
                ("disable_vm_metadata", "true"),
                ("root", root),
            ],
        )),
    };
    Ok(Server {
        large: 3 << 20,
        ..Server::new("fake_gcs", "gcs", CasGrade::Checked, place)
    })
}

pub fn openssh() -> Started {
    let folder = TempDir::new()?;
    let server = SftpServer::start(folder.path())?;
    let place = move |root: &str| {
        let at = Folder::made(folder.path(), root);
        let url = format!(
            "sftp://{}@127.0.0.1:{}{}",
            server.user(),
            server.port(),
            folder.path().join(root).display()
        );
        Place {
            by_url: json!({"url": url}),
            options: options(json!({"ssh_config": server.ssh_config()})),
            editor: Arc::new(at),
            url,
        }
    };
    Ok(Server {
        known: &[(
            "modification_times_are_kept",
            "version 3 of SFTP has no times before 1970",
        )],
        ..Server::new("openssh", "sftp", CasGrade::Checked, place)
    })
}

fn webdav(name: &'static str, grade: CasGrade, server: WebDavService) -> Server {
    let place = move |root: &str| {
        // Made through the server: rclone does not see what appears behind its back.
        let made = server.make_folder(root);
        assert!(made, "the folder {root} cannot be made");
        let folder = Folder::seen(&server.data(), root);
        let url = format!("{}{root}", server.url());
        Place {
            by_url: json!({"url": url}),
            options: Map::new(),
            editor: Arc::new(Dav::new(&url, folder)),
            url: url.replacen("http", "webdav", 1),
        }
    };
    Server::new(name, "webdav", grade, place)
}

pub fn apache() -> Started {
    // Its locks do not hold.
    Ok(webdav("apache", CasGrade::Checked, services::apache()?))
}

pub fn rclone_webdav() -> Started {
    let server = services::rclone_webdav()?;
    Ok(Server {
        known: &[(
            "one_folder_maker_wins",
            "it says that a folder was made when it was there already",
        )],
        ..webdav("rclone_webdav", CasGrade::Atomic, server)
    })
}

pub fn vsftpd() -> Started {
    let server = services::Vsftpd::start()?;
    let place = move |root: &str| {
        let at = Folder::made(&server.data(), root);
        // This vsftpd does not shut its clients in: for them the folder has its whole path, and without it they are at `/`.
        let served = server.root().join(root);
        let url = format!("{}{}", server.url(), served.display());
        let url = url.replacen("//", "//anonymous@", 1);
        Place {
            by_url: json!({"url": url}),
            options: Map::new(),
            editor: Arc::new(at),
            url,
        }
    };
    Ok(Server {
        // A listing may tell the time without seconds.
        settles: Duration::from_secs(125),
        known: &[
            ("an_empty_file_is_a_file", "the linked library sends none"),
            (
                "a_missing_folder_is_no_parent",
                "the linked library makes folders that are missing",
            ),
        ],
        // Empty ones are refused.
        least: 1,
        ..Server::new("vsftpd", "ftp", CasGrade::Checked, place)
    })
}
