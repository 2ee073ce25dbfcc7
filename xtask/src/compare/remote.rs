//! The second side's server, when it is not a local folder.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::relay;
use crate::Result;
use crate::bench_s3::programs::Programs;

/// What the second side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Local,
    /// The folder behind an OpenSSH server.
    Sftp,
}

impl Target {
    pub const ALL: [Target; 2] = [Target::Local, Target::Sftp];

    pub fn name(self) -> &'static str {
        match self {
            Target::Local => "local",
            Target::Sftp => "sftp",
        }
    }
}

/// The server's name in the client's configuration.
const HOST: &str = "wl-compare";
/// How long a start may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs. It ends when this is dropped, or when we are killed.
#[derive(Debug)]
pub struct Remote {
    config: PathBuf,
    guard: Child,
}

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
        let remote = Self { config, guard };
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

    /// What `wl sync` is told of the second side.
    pub fn arguments(&self, root: &Path) -> [String; 3] {
        let option = format!("ssh_config={}", self.config.display());
        [url(root), "--target-option".to_owned(), option]
    }

    /// What wl's daemon is told of it.
    pub fn params(&self, root: &Path) -> Value {
        json!({ "type": "sftp", "url": url(root), "ssh_config": self.config })
    }
}

fn url(root: &Path) -> String {
    format!("sftp://{HOST}{}", root.display())
}

impl Drop for Remote {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
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
