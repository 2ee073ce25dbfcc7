//! Servers of others: child processes with a folder of their own, which end with their handle.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fmt, io, thread};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Why a server is not there, in words that say what to do.
#[derive(Debug)]
pub struct StartError(String);

impl StartError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// What starting a server gives.
pub type Result<T> = std::result::Result<T, StartError>;

/// Folders below the one of `WL_SERVICES_DIR` in which programs may be.
const IN_SERVICES: [&str; 4] = ["", "bin", "python/bin", "npm/node_modules/.bin"];

/// Where programs are that are on no ordinary user's PATH.
const IN_SYSTEM: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// Finds a program: in the folder named by `WL_SERVICES_DIR`, in `target/services`, on the PATH, in the folders for root.
///
/// # Errors
///
/// When it is nowhere. The error says how to install it.
pub fn find(program: &str, how: &str) -> Result<PathBuf> {
    let services = services_dir();
    let ours = IN_SERVICES.iter().map(|folder| services.join(folder));
    let path = env::var_os("PATH").unwrap_or_default();
    let of_path: Vec<PathBuf> = env::split_paths(&path).collect();
    let of_system = IN_SYSTEM.iter().map(PathBuf::from);
    let mut all = ours.chain(of_path).chain(of_system);
    all.find_map(|folder| Some(folder.join(program)).filter(|path| path.is_file()))
        .ok_or_else(|| StartError(format!("{program} is not installed: {how}")))
}

/// Where `cargo xtask services install` puts programs.
#[must_use]
pub fn services_dir() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    env::var_os("WL_SERVICES_DIR").map_or_else(|| workspace.join("target/services"), PathBuf::from)
}

/// A port that nobody listens on. Somebody else may take it before the server does: then the server does not start.
///
/// # Errors
///
/// When there is none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Starts a server again when it ended because its port was taken in between.
pub(crate) fn with_free_port<T>(start: impl Fn(u16) -> Result<T>) -> Result<T> {
    let mut attempts = 3;
    loop {
        attempts -= 1;
        let started = start(free_port()?);
        let is_taken = |error: &StartError| {
            let text = error.0.to_lowercase();
            text.contains("in use") || text.contains("cannot bind")
        };
        match started {
            Err(error) if attempts > 0 && is_taken(&error) => {}
            started => return started,
        }
    }
}

/// A child process. It and all its descendants are killed when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    folder: TempDir,
}

impl Process {
    /// Starts a program; what it prints goes to a log in its folder.
    pub(crate) fn start(name: &str, mut command: Command, folder: TempDir) -> Result<Self> {
        let log = File::create(folder.path().join("output.log"))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let child = command
            .spawn()
            .map_err(|error| StartError(format!("{name} cannot be started: {error}")))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            folder,
        })
    }

    /// Asks again and again until it says yes.
    pub(crate) fn wait_until(
        &mut self,
        limit: Duration,
        mut is_ready: impl FnMut() -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !is_ready() {
            let ended = self.child.try_wait()?;
            if let Some(status) = ended {
                let text = format!("{} ended with {status}:\n{}", self.name, self.log());
                return Err(StartError(text));
            }
            if Instant::now() > deadline {
                let seconds = limit.as_secs();
                let text = format!(
                    "{} did not answer for {seconds} s:\n{}",
                    self.name,
                    self.log()
                );
                return Err(StartError(text));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its folder, which is removed with it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it printed: the last part of its logs.
    #[must_use]
    pub fn log(&self) -> String {
        let mut text = String::new();
        let entries = fs::read_dir(self.folder.path()).into_iter().flatten();
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|kind| kind == "log") {
                let log = fs::read(&path).unwrap_or_default();
                let from = log.len().saturating_sub(4000);
                text.push_str(&String::from_utf8_lossy(&log[from..]));
            }
        }
        text
    }

    /// Kills its descendants, but not itself: for servers with a process for each connection, this drops all connections.
    ///
    /// Returns how many there were.
    pub fn kill_descendants(&self) -> usize {
        let all = descendants(self.child.id());
        for id in &all {
            signal(*id, Signal::KILL);
        }
        all.len()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // While it stands still it starts no others.
        signal(self.child.id(), Signal::STOP);
        let all = descendants(self.child.id());
        let _ = self.child.kill();
        for id in &all {
            signal(*id, Signal::KILL);
        }
        let _ = self.child.wait();
        // They hold the listening socket, and nobody but init may wait for them.
        let deadline = Instant::now() + Duration::from_secs(5);
        while all.iter().any(|id| is_alive(*id)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn signal(id: u32, signal: Signal) {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    if let Some(id) = id {
        let _ = kill_process(id, signal);
    }
}

/// The processes that a process started, and those that these started.
fn descendants(of: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u32)> = ids.filter_map(|id| Some((id, parent(id)?))).collect();
    let mut found = vec![of];
    let mut at = 0;
    while let Some(id) = found.get(at).copied() {
        let children = parents.iter().filter(|(_, parent)| *parent == id);
        found.extend(children.map(|(child, _)| *child));
        at += 1;
    }
    found.split_off(1)
}

fn parent(id: u32) -> Option<u32> {
    stat_word(id, 1)?.parse().ok()
}

/// Whether a process still has its files open. The first thread can be over while others are not.
fn is_alive(id: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{id}/task")).map_or(0, Iterator::count);
    let is_over = |state: String| state == "Z" || state == "X";
    threads > 1 || threads == 1 && !stat_word(id, 0).is_none_or(is_over)
}

/// In `/proc/ID/stat` the name is in brackets and may hold anything; behind it are the state and the parent.
fn stat_word(id: u32, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(number).map(str::to_owned)
}

/// The status of an HTTP request to the loopback, if there was an answer.
pub(crate) fn http(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: &str,
) -> Option<u16> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\
         content-length: {}\r\n{lines}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut reply = Vec::new();
    let mut chunk = [0; 1024];
    while !reply.contains(&b'\n') {
        match stream.read(&mut chunk).ok()? {
            0 => break,
            read => reply.extend_from_slice(&chunk[..read]),
        }
    }
    let line = String::from_utf8_lossy(&reply).into_owned();
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_missing_program_is_named_with_its_remedy() {
    let error = find("wl-no-such-program", "apt-get install it").unwrap_err();
    let text = "wl-no-such-program is not installed: apt-get install it";
    assert_eq!(error.to_string(), text);
}
