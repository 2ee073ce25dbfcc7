//! S3 servers of others.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::HOW;
use crate::process::{Process, Result, find, free_port, http, with_free_port};
use crate::sign::Key;

const ACCESS_KEY: &str = "service-access-key";
const SECRET_KEY: &str = "service-secret-key";

/// A running S3 server with an empty bucket.
pub struct S3Service {
    process: Process,
    port: u16,
    bucket: String,
}

impl S3Service {
    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The region to sign for.
    #[must_use]
    pub fn region(&self) -> &'static str {
        "us-east-1"
    }

    /// The access key.
    #[must_use]
    pub fn access_key(&self) -> &'static str {
        ACCESS_KEY
    }

    /// Its secret.
    #[must_use]
    pub fn secret_key(&self) -> &'static str {
        SECRET_KEY
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// Waits until the bucket can be made and something can be written into it.
fn ready(name: &str, command: Command, folder: TempDir, port: u16) -> Result<S3Service> {
    let mut process = Process::start(name, command, folder)?;
    let (key, host) = (
        Key::new(ACCESS_KEY, SECRET_KEY),
        format!("127.0.0.1:{port}"),
    );
    let send = |method: &str, path: &str| {
        let headers = key.sign(method, &host, path, &[]);
        http(port, method, path, &headers, "")
    };
    let works = || {
        // 409: it is there already.
        let made = send("PUT", "/bench");
        made.is_some_and(|status| status == 200 || status == 409)
            && send("PUT", "/bench/ready") == Some(200)
            && send("DELETE", "/bench/ready").is_some()
    };
    process.wait_until(Duration::from_secs(120), works)?;
    Ok(S3Service {
        process,
        port,
        bucket: "bench".to_owned(),
    })
}

/// `SeaweedFS`: conditions hold here.
///
/// # Errors
///
/// When it is not installed or does not start.
pub fn seaweedfs() -> Result<S3Service> {
    let weed = find("weed", HOW)?;
    with_free_port(|port| {
        let folder = TempDir::new()?;
        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        let ids = folder.path().join("ids.json");
        fs::write(&ids, identities())?;
        let mut command = Command::new(&weed);
        command
            .arg("server")
            .arg(format!("-dir={}", data.display()))
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"])
            .args(["-master.telemetry=false", "-volume.max=50"])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
            .arg(format!("-s3.config={}", ids.display()))
            .arg(format!("-s3.port={port}"));
        // Each of its parts listens at a second port too: the first one and 10000.
        for part in ["master", "volume", "filer"] {
            command.arg(format!("-{part}.port={}", low_port()?));
            command.arg(format!("-{part}.port.grpc={}", free_port()?));
        }
        command.arg(format!("-s3.port.grpc={}", free_port()?));
        command.current_dir(folder.path());
        ready("weed", command, folder, port)
    })
}

/// A free port to which 10000 can be added.
fn low_port() -> Result<u16> {
    loop {
        let port = free_port()?;
        if port < u16::MAX - 10_000 {
            return Ok(port);
        }
    }
}

fn identities() -> String {
    format!(
        "{{\"identities\":[{{\"name\":\"test\",\"credentials\":[{{\"accessKey\":\"{ACCESS_KEY}\",\
         \"secretKey\":\"{SECRET_KEY}\"}}],\
         \"actions\":[\"Admin\",\"Read\",\"List\",\"Tagging\",\"Write\"]}}]}}"
    )
}

/// `rclone serve s3`: all conditions are ignored here.
///
/// # Errors
///
/// When it is not installed or does not start.
pub fn rclone_s3() -> Result<S3Service> {
    let rclone = find("rclone", HOW)?;
    with_free_port(|port| {
        let folder = TempDir::new()?;
        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        let mut command = rclone_serve(&rclone, "s3", port);
        command
            .arg("--auth-key")
            .arg(format!("{ACCESS_KEY},{SECRET_KEY}"))
            .arg(&data);
        ready("rclone", command, folder, port)
    })
}

pub(super) fn rclone_serve(rclone: &Path, what: &str, port: u16) -> Command {
    let mut command = Command::new(rclone);
    command
        .args(["serve", what, "--config", "/dev/null", "--addr"])
        .arg(format!("127.0.0.1:{port}"));
    command
}
