//! The SSH server of the system, as the user who runs the test: on the loopback, with keys of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Process, Result, StartError, find, with_free_port};

const HOW: &str = "apt-get install openssh-server openssh-client";

/// The name of the server in [`SftpServer::ssh_config`].
pub const HOST: &str = "wl-test";

/// Where systems have the program that speaks SFTP.
const SFTP_SERVERS: [&str; 4] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/libexec/sftp-server",
    "/usr/lib/ssh/sftp-server",
];

/// A running sshd. It and its connections end when this is dropped.
pub struct SftpServer {
    process: Process,
    port: u16,
    user: String,
}

impl SftpServer {
    /// Starts a server whose sessions begin in `dir` (an absolute path; others can be reached too).
    ///
    /// # Errors
    ///
    /// When sshd is not installed, or does not let us in. The error has its log.
    pub fn start(dir: &Path) -> Result<Self> {
        with_free_port(|port| Self::start_at(dir, port))
    }

    fn start_at(dir: &Path, port: u16) -> Result<Self> {
        let sshd = find("sshd", HOW)?;
        find("sftp", HOW)?;
        let folder = TempDir::new()?;
        let user = user()?;
        // Only root needs the folder, and only root can make it.
        if user == "root" {
            fs::create_dir_all("/run/sshd")?;
        }
        let at = folder.path();
        for key in ["host_key", "client_key"] {
            make_key(&at.join(key))?;
        }
        fs::copy(at.join("client_key.pub"), at.join("authorized_keys"))?;
        write_server_config(&sshd, at, dir, port, &user)?;
        write_client_config(at, port, &user)?;
        let mut command = Command::new(&sshd);
        command
            .arg("-f")
            .arg(at.join("sshd_config"))
            .arg("-E")
            .arg(at.join("sshd.log"))
            .arg("-D");
        let process = Process::start("sshd", command, folder)?;
        let mut server = Self {
            process,
            port,
            user,
        };
        let limit = Duration::from_secs(120);
        server.process.wait_until(limit, || answers(port))?;
        server.log_in()?;
        Ok(server)
    }

    /// The `sftp-server` of the system without SSH around it, to be spoken to over stdin and stdout. It works in `dir`.
    ///
    /// # Errors
    ///
    /// When it is not installed.
    pub fn process(dir: &Path) -> Result<Command> {
        let mut places = SFTP_SERVERS.iter().map(PathBuf::from);
        let program = places.find(|path| path.is_file());
        let program = program.ok_or_else(|| {
            StartError::new("sftp-server is not installed: apt-get install openssh-sftp-server")
        })?;
        let mut command = Command::new(program);
        command
            .arg("-e")
            .arg("-d")
            .arg(dir)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Ok(command)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The only user who can log in: the one who runs this.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// `ssh://USER@127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ssh://{}@127.0.0.1:{}", self.user, self.port)
    }

    /// The client's private key.
    #[must_use]
    pub fn identity_file(&self) -> PathBuf {
        self.process.folder().join("client_key")
    }

    /// A configuration for `ssh -F`; the server's name in it is [`HOST`].
    #[must_use]
    pub fn ssh_config(&self) -> PathBuf {
        self.process.folder().join("ssh_config")
    }

    /// What sshd has to say.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Drops all connections, as a bad line would; new ones are taken. Returns how many processes ended.
    pub fn drop_connections(&self) -> usize {
        self.process.kill_descendants()
    }

    /// Runs commands of `sftp`, one a line.
    ///
    /// # Errors
    ///
    /// When one of them fails.
    pub fn run(&self, commands: &str) -> Result<String> {
        let batch = self.process.folder().join("batch");
        fs::write(&batch, commands)?;
        let output = Command::new("sftp")
            .arg("-q")
            .arg("-F")
            .arg(self.ssh_config())
            .arg("-b")
            .arg(batch)
            .arg(HOST)
            .stdin(Stdio::null())
            .output()?;
        text_of("sftp", &output)
    }

    fn log_in(&self) -> Result<()> {
        let tried = self.run("pwd\n");
        tried.map(drop).map_err(|error| {
            StartError::new(format!(
                "sshd does not let us in: {error}\n{}",
                self.process.log()
            ))
        })
    }
}

fn user() -> Result<String> {
    let output = Command::new("id").arg("-un").output()?;
    Ok(text_of("id", &output)?.trim().to_owned())
}

fn text_of(program: &str, output: &Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(StartError::new(format!("{program} failed: {error}")))
}

fn make_key(path: &Path) -> Result<()> {
    let output = Command::new(find("ssh-keygen", HOW)?)
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "wl-test", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .output()?;
    text_of("ssh-keygen", &output).map(drop)
}

fn write_server_config(sshd: &Path, at: &Path, dir: &Path, port: u16, user: &str) -> Result<()> {
    let (keys, start) = (at.display(), dir.display());
    // An ordinary user's sshd cannot see whether the account is locked, and then says that it is; PAM can.
    let pam = if user == "root" { "no" } else { "yes" };
    let config = format!(
        "Port {port}\n\
         ListenAddress 127.0.0.1\n\
         HostKey {keys}/host_key\n\
         AuthorizedKeysFile {keys}/authorized_keys\n\
         PidFile none\n\
         StrictModes no\n\
         UsePAM {pam}\n\
         UseDNS no\n\
         PermitRootLogin yes\n\
         PubkeyAuthentication yes\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         MaxStartups 1000\n\
         MaxSessions 1000\n\
         LogLevel VERBOSE\n\
         Subsystem sftp internal-sftp -d {start}\n"
    );
    let path = at.join("sshd_config");
    // Newer ones stop talking to a client that lost some connections, which tests do on purpose. Older ones do not know the word.
    fs::write(&path, format!("{config}PerSourcePenalties no\n"))?;
    let checked = Command::new(sshd).arg("-t").arg("-f").arg(&path).output()?;
    if !checked.status.success() {
        fs::write(&path, config)?;
    }
    Ok(())
}

fn write_client_config(at: &Path, port: u16, user: &str) -> Result<()> {
    let folder = at.display();
    let host_key = fs::read_to_string(at.join("host_key.pub"))?;
    fs::write(
        at.join("known_hosts"),
        format!("[127.0.0.1]:{port} {host_key}"),
    )?;
    let config = format!(
        "Host {HOST} 127.0.0.1\n\
         \x20 HostName 127.0.0.1\n\
         \x20 Port {port}\n\
         \x20 User {user}\n\
         \x20 IdentityFile {folder}/client_key\n\
         \x20 IdentitiesOnly yes\n\
         \x20 IdentityAgent none\n\
         \x20 UserKnownHostsFile {folder}/known_hosts\n\
         \x20 GlobalKnownHostsFile /dev/null\n\
         \x20 StrictHostKeyChecking yes\n\
         \x20 BatchMode yes\n"
    );
    Ok(fs::write(at.join("ssh_config"), config)?)
}

/// Whether something at the port says that it is SSH.
fn answers(port: u16) -> bool {
    let says_so = || {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        Some(line.starts_with("SSH-2.0"))
    };
    says_so().unwrap_or(false)
}
