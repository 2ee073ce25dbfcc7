//! `wl daemon install` and `wl daemon uninstall`: a user unit of systemd.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::json;

use super::options::Options;
use crate::commands::Context;
use crate::control;
use crate::error::{CliError, CliResult, Exit};

const UNIT: &str = "wl.service";
/// Who wrote a unit without it wants it to stay.
const MARK: &str = "# Written by `wl daemon install`, which replaces this file.";

/// Have systemd start the daemon when you log in, and again if it fails
///
/// Writes the user unit wl.service for this program and this base directory, and enables it.
#[derive(Debug, Args)]
pub struct Install {
    #[command(flatten)]
    options: Options,
}

/// Take the unit away again, and stop the daemon that it runs
#[derive(Debug, Args)]
pub struct Uninstall {}

impl Install {
    pub async fn run(self, context: &Context<'_>) -> CliResult {
        let path = unit_path()?;
        check_ours(&path)?;
        let program = control::this_program()?;
        let text = unit(&program, &self.options.words(context)?)?;
        // A daemon that somebody else started holds the base directory; one of another version answers with an error.
        let runs = !matches!(control::connect(context).await, Ok(None)) && !is_active();
        write(&path, &text).map_err(|error| failed("write", &path, &error))?;
        let enabled = systemctl(&["daemon-reload"])
            .and_then(|()| systemctl(&["enable", UNIT]))
            // One that runs already is another program now, or has other options.
            .and_then(|()| {
                if runs {
                    Ok(())
                } else {
                    systemctl(&["restart", UNIT])
                }
            });
        if let Err(why) = enabled {
            return Err(CliError::Failed(format!(
                "wrote {}, but systemd did not take it: {why}",
                path.display()
            )));
        }
        let document = json!({ "unit": path, "started": !runs });
        context.output.print(&document, || {
            format!("The daemon starts when you log in: {}\n", path.display())
        })?;
        if runs {
            context.output.talk(&format!(
                "A daemon runs already. Let systemd take over: `{}stop`, then `systemctl --user start {UNIT}`",
                context.wl()
            ));
        }
        context
            .output
            .talk("To have it run without a login: `loginctl enable-linger`");
        Ok(Exit::Done)
    }
}

impl Uninstall {
    pub fn run(self, context: &Context<'_>) -> CliResult {
        let path = unit_path()?;
        check_ours(&path)?;
        let was = path.exists();
        if was {
            // Where systemd does not answer it runs nothing that could be stopped.
            let stopped = systemctl(&["disable", "--now", UNIT]);
            fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))?;
            let stopped = stopped.and_then(|()| systemctl(&["daemon-reload"]));
            if let Err(why) = stopped {
                context
                    .output
                    .talk(&format!("systemd could not be told: {why}"));
            }
        }
        let document = json!({ "unit": path, "removed": was });
        context.output.print(&document, || match was {
            true => format!("Removed {}\n", path.display()),
            false => format!("There is no {}\n", path.display()),
        })?;
        Ok(Exit::Done)
    }
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> CliError {
    CliError::Failed(format!(
        "cannot {doing} {}: {error}; check the permissions of its folder",
        path.display()
    ))
}

/// Where user units are looked for.
fn unit_path() -> CliResult<PathBuf> {
    let folder = |name: &str| {
        let value = std::env::var_os(name).map(PathBuf::from);
        value.filter(|path| path.is_absolute())
    };
    let config = folder("XDG_CONFIG_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".config")))
        .ok_or_else(|| {
            CliError::Usage("HOME is not set, so there is no place for user units; set it".into())
        })?;
    Ok(config.join("systemd/user").join(UNIT))
}

/// A unit that a person wrote is not touched.
fn check_ours(path: &Path) -> CliResult<()> {
    match fs::read_to_string(path) {
        Ok(text) if !text.starts_with(MARK) => Err(CliError::Failed(format!(
            "{} was not written by wl; move it away first",
            path.display()
        ))),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("read", path, &error)),
        _ => Ok(()),
    }
}

/// The unit. The daemon tells when it is ready, and that it is alive.
fn unit(program: &Path, words: &[OsString]) -> CliResult<String> {
    let text = |word: &std::ffi::OsStr| {
        word.to_str().map(str::to_owned).ok_or_else(|| {
            CliError::Usage(format!(
                "{} is not UTF-8, and systemd takes nothing else; give another path",
                word.display()
            ))
        })
    };
    let mut line = quoted(&text(program.as_os_str())?) + " daemon";
    for word in words {
        // `$` has a meaning in arguments, not in the program's path.
        line = line + " " + &quoted(&text(word)?).replace('$', "$$");
    }
    let (arenas, most) = control::ARENAS;
    Ok(format!(
        "{MARK}
[Unit]
Description=wl, which keeps storages in sync
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=notify
Environment={arenas}={most}
ExecStart={line}
Restart=on-failure
RestartSec=10
WatchdogSec=120
TimeoutStopSec=30

[Install]
WantedBy=default.target
"
    ))
}

/// A word of a command, as systemd reads it.
fn quoted(word: &str) -> String {
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '\\' | '"' => quoted.extend(['\\', c]),
            '%' => quoted.push_str("%%"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Whether systemd runs the daemon.
fn is_active() -> bool {
    systemctl(&["is-active", "--quiet", UNIT]).is_ok()
}

/// Asks the user's systemd. The error ends in what to do.
fn systemctl(words: &[&str]) -> Result<(), String> {
    let done = Command::new("systemctl")
        .arg("--user")
        .args(words)
        .stdin(Stdio::null())
        .output();
    match done {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stderr);
            let said = said.lines().next().unwrap_or("no reason given").trim();
            Err(format!(
                "systemctl --user {}: {said}; this needs a session of your own (log in, not `su` or `sudo`; for root, or \
                 where nobody logs in: `loginctl enable-linger`), then: `systemctl --user daemon-reload && systemctl --user enable \
                 --now {UNIT}`",
                words.join(" ")
            ))
        }
        Err(error) => Err(format!(
            "systemctl cannot be run ({error}); without systemd have `wl start` run at login, from cron's `@reboot` say"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_systemd_reads_them() {
        for (word, expected) in [
            ("/a", r#""/a""#),
            ("/a b", r#""/a b""#),
            ("/50%h", r#""/50%%h""#),
            (r#"/a"b\c"#, r#""/a\"b\\c""#),
            ("/a'b;c#", r#""/a'b;c#""#),
            ("/a\nb\t", r#""/a\x0ab\x09""#),
            ("/é", r#""/é""#),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn dollars_are_doubled_in_arguments_only() {
        let text = unit(Path::new("/$x/wl"), &["--base-dir".into(), "/$HOME".into()]).unwrap();
        let line = "ExecStart=\"/$x/wl\" daemon \"--base-dir\" \"/$$HOME\"\n";
        assert!(text.contains(line), "{text}");
        assert!(text.starts_with(MARK));
    }
}
