//! A SeaweedFS of our own on the loopback.
//!
//! Each start has a fresh folder and fresh ports: what was removed from SeaweedFS stays on its disk, and an old server may
//! not end when asked, so it is killed.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::objects::Objects;
use crate::Result;

pub const ACCESS_KEY: &str = "bench-access-key";
pub const SECRET_KEY: &str = "bench-secret-key-bench-secret-key";
pub const BUCKET: &str = "bench";

/// The tools sign what they ask; what we look at ourselves needs no signature.
fn identities() -> String {
    format!(
        r#"{{"identities":[
{{"name":"bench","credentials":[{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}}],"actions":["Admin","Read","Write","List","Tagging"]}},
{{"name":"anonymous","actions":["Admin","Read","List"]}}]}}"#
    )
}

/// Starts the command that follows the log's name and kills it when its stdin ends: when we are done, and also when we are
/// interrupted or killed.
const GUARD: &str = "\
trap '' INT TERM HUP
log=$1
shift
\"$@\" >\"$log\" 2>&1 &
cat >/dev/null
kill -9 $!
wait
";

/// How long a start may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Server {
    /// `127.0.0.1:PORT`.
    pub address: String,
    folder: PathBuf,
    ports: Vec<u16>,
    guard: Child,
}

impl Server {
    /// Starts a server whose data is in `folder`, which is made and removed.
    pub fn start(weed: &Path, folder: PathBuf) -> Result<Self> {
        for _ in 0..2 {
            let server = Self::spawn(weed, folder.clone())?;
            if server.is_ready() {
                return Ok(server);
            }
            // Another process may have taken a port in between.
        }
        let server = Self::spawn(weed, folder)?;
        if server.is_ready() {
            return Ok(server);
        }
        let log = fs::read_to_string(server.log()).unwrap_or_default();
        let why = log.lines().find(|line| line.starts_with('F'));
        Err(format!(
            "SeaweedFS did not start: {}",
            why.unwrap_or("its log does not say why")
        )
        .into())
    }

    fn spawn(weed: &Path, folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(folder.join("data"))?;
        let config = folder.join("identities.json");
        fs::write(&config, identities())?;
        let ports = free_ports(8)?;
        let log = folder.join("log");
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "sh"]).arg(&log).arg(weed);
        command.args([
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
        ]);
        command.args(["-master.telemetry=false", "-volume.max=50"]);
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
        command.arg(format!("-dir={}", folder.join("data").display()));
        command.arg(format!("-s3.config={}", config.display()));
        for (part, ports) in ["s3", "master", "volume", "filer"]
            .iter()
            .zip(ports.chunks(2))
        {
            command.arg(format!("-{part}.port={}", ports[0]));
            command.arg(format!("-{part}.port.grpc={}", ports[1]));
        }
        let guard = command.stdin(Stdio::piped()).spawn()?;
        Ok(Self {
            address: format!("127.0.0.1:{}", ports[0]),
            folder,
            ports,
            guard,
        })
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Its port is open long before it can take a bucket.
    fn is_ready(&self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            sleep(Duration::from_millis(200));
            if self.objects().make_bucket().is_ok() {
                return self.objects().warm_up().is_ok();
            }
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            if log.lines().any(|line| line.starts_with('F')) {
                return false;
            }
        }
        false
    }

    pub fn objects(&self) -> Objects {
        Objects::new(&self.address, BUCKET)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        let _ = fs::remove_dir_all(&self.folder);
        for port in &self.ports {
            for part in [
                "s3",
                "s3-grpc",
                "master-grpc",
                "volume-grpc",
                "filer",
                "filer-grpc",
            ] {
                let _ = fs::remove_file(format!("/tmp/seaweedfs-{part}-{port}.sock"));
            }
        }
    }
}

/// Ports that nobody listens on.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<_>>()?;
    let ports = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()));
    ports.collect()
}
