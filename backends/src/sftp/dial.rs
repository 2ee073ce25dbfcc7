//! The way to a server: the `ssh` program, and why it failed.

use std::ffi::OsString;
use std::fmt;
use std::process::Stdio;

use async_trait::async_trait;
use tokio::process::Command;
use wl_core::storage::ErrorKind;

use super::connection::{Connection, Ends, Silence};

/// Makes connections.
#[async_trait]
pub(super) trait Dial: Send + Sync + fmt::Debug {
    /// Starts what leads to the server.
    async fn dial(&self) -> Result<Ends, Failure>;
}

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    /// What happened and what to do.
    pub(super) reason: String,
    /// Whether it may pass by itself.
    pub(super) passes: bool,
}

/// A program that speaks SFTP on its standard input and output.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
}

#[async_trait]
impl Dial for Program {
    async fn dial(&self) -> Result<Ends, Failure> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.cannot_start(&error))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(to), Some(from)) => Ok(Ends {
                to: Box::new(to),
                from: Box::new(from),
                complaints: child.stderr.take().map(|from| Box::new(from) as _),
                child: Some(child),
                silence: Silence::default(),
            }),
            _ => Err(Failure {
                kind: ErrorKind::Unavailable,
                reason: "the program has no input and output".to_owned(),
                passes: false,
            }),
        }
    }
}

impl Program {
    fn cannot_start(&self, error: &std::io::Error) -> Failure {
        let program = self.program.to_string_lossy();
        let reason = if error.kind() == std::io::ErrorKind::NotFound {
            format!(
                "the program `{program}` is missing; install the OpenSSH client (Debian: openssh-client)"
            )
        } else {
            format!("the program `{program}` cannot be started: {error}")
        };
        Failure {
            kind: ErrorKind::Unavailable,
            reason,
            passes: false,
        }
    }
}

/// Dials and greets, within a time limit. `server` is `user@host:port`, as far as given; advice calls it so.
pub(super) async fn connect(dial: &dyn Dial, server: &str) -> Result<Connection, Failure> {
    let opening = async {
        let ends = dial.dial().await?;
        let opened = Connection::open(ends).await;
        opened.map_err(|(reason, complaints)| explain(&reason, &complaints, server))
    };
    match tokio::time::timeout(super::CONNECTING, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(Failure {
            kind: ErrorKind::Unavailable,
            reason: format!(
                "no SFTP connection within {} seconds; check with `sftp sftp://{server}`",
                super::CONNECTING.as_secs()
            ),
            passes: true,
        }),
    }
}

/// The last lines that say something, in one line.
pub(super) fn last_lines(complaints: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaints);
    let telling = text.lines().map(str::trim).filter(|line| {
        !line.is_empty()
            && !line.starts_with('@')
            && !line.starts_with("Warning: Permanently added")
            && !line.starts_with("debug")
    });
    let mut lines: Vec<&str> = telling.collect();
    lines.drain(..lines.len().saturating_sub(3));
    let line = lines.join("; ");
    line.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The server's name in known_hosts, as a word for a shell.
fn known_as(server: &str) -> String {
    let place = server.rsplit_once('@').map_or(server, |(_, place)| place);
    match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            format!("'[{host}]:{port}'")
        }
        _ => place.replace(['[', ']'], ""),
    }
}

/// What ssh's complaint means, and what to do about it.
fn explain(reason: &str, complaints: &[u8], server: &str) -> Failure {
    let text = String::from_utf8_lossy(complaints).to_lowercase();
    let has = |words: &str| text.contains(words);
    let (kind, passes, advice) = if has("host identification has changed") {
        let advice = format!(
            "the host key is not the one in known_hosts: ask who runs the server, and only then remove the old key with `ssh-keygen -R {}`",
            known_as(server)
        );
        (ErrorKind::Credentials, false, advice)
    } else if has("host key verification failed") || has("host key is known for") {
        let advice = format!(
            "the host key is not known: run `ssh ssh://{server}` once and compare the fingerprint, or use `ssh-keyscan`"
        );
        (ErrorKind::Credentials, false, advice)
    } else if has("permission denied") || has("too many authentication failures") {
        let advice = format!(
            "no key of yours is accepted: load one with `ssh-add`, or give `identity_file`; try `ssh ssh://{server}` (passwords are never asked for)"
        );
        (ErrorKind::Credentials, false, advice)
    } else if has("could not resolve") {
        let advice = "check the host's name in `url`".to_owned();
        (ErrorKind::Unavailable, true, advice)
    } else if has("connection refused") {
        let advice = "check the port, and whether the SSH server runs".to_owned();
        (ErrorKind::Unavailable, true, advice)
    } else if has("subsystem request failed") {
        let advice = "the SSH server offers no `sftp` subsystem; switch it on there".to_owned();
        (ErrorKind::Unavailable, false, advice)
    } else if has("bad configuration option") || has("can't open user config") {
        let advice = "check `ssh_config`".to_owned();
        (ErrorKind::Unavailable, false, advice)
    } else {
        let advice = format!("check with `sftp sftp://{server}`");
        (ErrorKind::Unavailable, true, advice)
    };
    let said = match last_lines(complaints) {
        lines if lines.is_empty() => reason.to_owned(),
        lines => lines,
    };
    Failure {
        kind,
        reason: format!("{said}; {advice}"),
        passes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_user_and_the_port() {
        let advice = |complaint: &str, server| explain("", complaint.as_bytes(), server).reason;
        let unknown = advice("Host key verification failed.", "ann@host:2222");
        assert!(unknown.contains("`ssh ssh://ann@host:2222`"), "{unknown}");
        let changed = "REMOTE HOST IDENTIFICATION HAS CHANGED!";
        for (server, known) in [
            ("ann@host:2222", "'[host]:2222'"),
            ("host", "host"),
            ("ann@[::1]", "::1"),
            ("[::1]:22022", "'[::1]:22022'"),
        ] {
            let reason = advice(changed, server);
            assert!(reason.contains(&format!("-R {known}`")), "{reason}");
        }
    }
}
