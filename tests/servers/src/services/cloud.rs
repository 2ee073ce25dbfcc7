//! Object storages of other clouds.

use std::fs;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::HOW;
use crate::process::{Process, Result, find, http, with_free_port};
use crate::sign::{hmac, http_date};

/// The account that every Azurite has; it is in its documentation.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A running Azurite with an empty container: Azure Blob. All conditions hold.
pub struct Azurite {
    process: Process,
    port: u16,
}

impl Azurite {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// When it is not installed or does not start.
    pub fn start() -> Result<Self> {
        let program = find("azurite-blob", HOW)?;
        with_free_port(|port| {
            let folder = TempDir::new()?;
            let mut command = Command::new(&program);
            command
                .args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"])
                .args(["--blobHost", "127.0.0.1", "--blobPort"])
                .arg(port.to_string())
                .arg("--location")
                .arg(folder.path().join("data"));
            let mut process = Process::start("azurite-blob", command, folder)?;
            process.wait_until(Duration::from_secs(120), || {
                makes_container(port) == Some(201)
            })?;
            Ok(Self { process, port })
        })
    }

    /// The endpoint, with the account in it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{ACCOUNT}", self.port)
    }

    /// Its container.
    #[must_use]
    pub fn container(&self) -> &'static str {
        "bench"
    }

    /// The account's name.
    #[must_use]
    pub fn account(&self) -> &'static str {
        ACCOUNT
    }

    /// The account's key.
    #[must_use]
    pub fn account_key(&self) -> &'static str {
        ACCOUNT_KEY
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }
}

fn makes_container(port: u16) -> Option<u16> {
    let (date, version) = (http_date(), "2021-08-06");
    let text = format!(
        "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n\
         /{ACCOUNT}/{ACCOUNT}/bench\nrestype:container"
    );
    let key = STANDARD.decode(ACCOUNT_KEY).ok()?;
    let signature = STANDARD.encode(hmac(&key, text.as_bytes()));
    let header = |name: &str, value: String| (name.to_owned(), value);
    let headers = [
        header("x-ms-date", date),
        header("x-ms-version", version.to_owned()),
        header("authorization", format!("SharedKey {ACCOUNT}:{signature}")),
    ];
    let path = format!("/{ACCOUNT}/bench?restype=container");
    http(port, "PUT", &path, &headers, "")
}

/// A running fake GCS server with an empty bucket. Conditions are ignored.
pub struct FakeGcs {
    process: Process,
    port: u16,
}

impl FakeGcs {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// When it is not installed or does not start.
    pub fn start() -> Result<Self> {
        let program = find("fake-gcs-server", HOW)?;
        with_free_port(|port| {
            let folder = TempDir::new()?;
            fs::create_dir(folder.path().join("data"))?;
            let mut command = Command::new(&program);
            command
                .args(["-scheme", "http", "-backend", "memory"])
                .args(["-host", "127.0.0.1", "-port", &port.to_string()])
                .args(["-public-host", &format!("127.0.0.1:{port}")]);
            let mut process = Process::start("fake-gcs-server", command, folder)?;
            let kind = ("content-type".to_owned(), "application/json".to_owned());
            process.wait_until(Duration::from_secs(120), || {
                let body = "{\"name\":\"bench\"}";
                let path = "/storage/v1/b?project=test";
                http(port, "POST", path, std::slice::from_ref(&kind), body) == Some(200)
            })?;
            Ok(Self { process, port })
        })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its bucket.
    #[must_use]
    pub fn bucket(&self) -> &'static str {
        "bench"
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }
}
