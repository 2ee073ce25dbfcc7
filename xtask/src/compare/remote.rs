//! The second side's server, when it is not a local folder.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bucket::Bucket;
use super::relay;
use crate::Result;
use crate::bench_s3::programs::Programs;
use crate::bench_s3::server::{BUCKET, Server};

/// What the second side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Local,
    /// The folder behind an OpenSSH server.
    Sftp,
    /// A bucket of SeaweedFS.
    S3,
}

impl Target {
    pub const ALL: [Target; 3] = [Target::Local, Target::Sftp, Target::S3];

    pub fn name(self) -> &'static str {
        match self {
            Target::Local => "local",
            Target::Sftp => "sftp",
            Target::S3 => "s3",
        }
    }
}

/// The server's name in the client's configuration.
const HOST: &str = "wl-compare";
/// How long a start may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs. It ends when this is dropped, or when we are killed.
#[derive(Debug)]
pub enum Remote {
    Sftp {
        config: PathBuf,
        _sshd: Guarded,
    },
    /// With the address that the tool is told.
    S3 {
        server: Server,
        line: String,
    },
}

/// A process that ends with us.
#[derive(Debug)]
pub struct Guarded(Child);

/// Starts the command that follows and kills it when its stdin ends.
const GUARD: &str = "trap '' INT TERM HUP\n\"$@\" &\ncat >/dev/null\nkill -9 $!\nwait\n";

impl Remote {
    /// An sshd whose files are in `home`, which is made. Answers come `2 * delay` later.
    pub fn sftp(home: &Path, delay: Duration) -> Result<Self> {
        let sshd = Programs::new().find("sshd");
        let sbin = || Some(PathBuf::from("/usr/sbin/sshd")).filter(|sshd| sshd.is_file());
        let sshd = sshd.or_else(sbin);
        let sshd = sshd.ok_or("sshd is missing (Debian: apt-get install openssh-server)")?;
        fs::create_dir_all(home)?;
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd")?;
        }
        for key in ["host_key", "client_key"] {
            let mut make = Command::new("ssh-keygen");
            make.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
            if !make.arg(home.join(key)).status()?.success() {
                return Err("ssh-keygen made no key".into());
            }
        }
        let port = free_port()?;
        fs::write(home.join("sshd_config"), server_config(home, port))?;
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "sh"]).arg(sshd).arg("-f");
        command.arg(home.join("sshd_config")).arg("-E");
        command.arg(home.join("log")).arg("-D");
        let guard = command.stdin(Stdio::piped()).spawn()?;
        let address = format!("127.0.0.1:{port}");
        let line = match delay {
            Duration::ZERO => port,
            delay => relay::start(address, delay)?,
        };
        let config = home.join("ssh_config");
        fs::write(&config, client_config(home, line)?)?;
        let remote = Self::Sftp {
            config,
            _sshd: Guarded(guard),
        };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if Instant::now() > end {
                let log = fs::read_to_string(home.join("log")).unwrap_or_default();
                return Err(format!("sshd did not start: {log}").into());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(remote)
    }

    /// A SeaweedFS whose data is in `home`. Answers come `2 * delay` later.
    pub fn s3(home: &Path, delay: Duration) -> Result<Self> {
        let weed = Programs::new().find("weed");
        let weed = weed.ok_or("SeaweedFS is missing: cargo xtask services install")?;
        let server = Server::start(&weed, home.to_owned())?;
        let line = match delay {
            Duration::ZERO => server.address.clone(),
            delay => format!("127.0.0.1:{}", relay::start(server.address.clone(), delay)?),
        };
        Ok(Self::S3 { server, line })
    }

    /// A prefix of its own, if the second side is in a bucket.
    pub fn bucket(&self) -> Option<Bucket> {
        static PREFIXES: AtomicU64 = AtomicU64::new(0);
        match self {
            Self::Sftp { .. } => None,
            Self::S3 { server, .. } => {
                let number = PREFIXES.fetch_add(1, Ordering::Relaxed);
                Some(Bucket::new(&server.address, BUCKET, format!("h{number}")))
            }
        }
    }

    /// What `wl sync` is told of the second side, a folder or a prefix.
    pub fn arguments(&self, place: &Path) -> Vec<String> {
        let params = self.params(place);
        let mut arguments = vec![self.url(place)];
        for (name, value) in params.as_object().into_iter().flatten() {
            if !["type", "url", "s3_url", "watcher-interval"].contains(&name.as_str()) {
                let value = value.as_str().map_or(value.to_string(), str::to_owned);
                arguments.extend(["--target-option".to_owned(), format!("{name}={value}")]);
            }
        }
        arguments
    }

    /// What wl's daemon is told of it.
    pub fn params(&self, place: &Path) -> Value {
        let url = self.url(place);
        match self {
            Self::Sftp { config, .. } => {
                json!({ "type": "sftp", "url": url, "ssh_config": config })
            }
            Self::S3 { line, .. } => {
                let endpoint = format!("http://{line}");
                json!({ "type": "s3", "s3_url": url, "endpoint_url": endpoint, "anonymous": true, "watcher-interval": 1 })
            }
        }
    }

    fn url(&self, place: &Path) -> String {
        let place = place.display();
        match self {
            Self::Sftp { .. } => format!("sftp://{HOST}{place}"),
            Self::S3 { .. } => format!("s3://{BUCKET}/{place}"),
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn server_config(home: &Path, port: u16) -> String {
    let home = home.display();
    // An ordinary user's sshd cannot see whether the account is locked, and then says that it is; PAM can.
    let pam = match rustix::process::geteuid().is_root() {
        true => "no",
        false => "yes",
    };
    format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host_key\n\
         AuthorizedKeysFile {home}/client_key.pub\nPidFile none\nStrictModes no\nUsePAM {pam}\nUseDNS no\n\
         PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         MaxStartups 1000\nMaxSessions 1000\nSubsystem sftp internal-sftp\n"
    )
}

fn client_config(home: &Path, port: u16) -> Result<String> {
    let host_key = fs::read_to_string(home.join("host_key.pub"))?;
    fs::write(home.join("known_hosts"), format!("{HOST} {host_key}"))?;
    let home = home.display();
    Ok(format!(
        "Host {HOST}\n  HostName 127.0.0.1\n  HostKeyAlias {HOST}\n  Port {port}\n\
         \x20 IdentityFile {home}/client_key\n  IdentitiesOnly yes\n  IdentityAgent none\n\
         \x20 UserKnownHostsFile {home}/known_hosts\n  GlobalKnownHostsFile /dev/null\n\
         \x20 StrictHostKeyChecking yes\n  BatchMode yes\n"
    ))
}
