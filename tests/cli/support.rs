//! Runs the binary in a home of its own.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A home directory and the `wl` in it.
pub struct Home {
    dir: TempDir,
}

/// What a command came to.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    pub fn of(out: Output) -> Self {
        Self {
            code: out.status.code().expect("no signal"),
            stdout: String::from_utf8(out.stdout).unwrap(),
            stderr: String::from_utf8(out.stderr).unwrap(),
        }
    }
}

impl Home {
    pub fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
        }
    }

    /// A path below the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    /// The default base directory.
    pub fn base(&self) -> PathBuf {
        self.path(".config/wildland")
    }

    /// Writes a file as a whole: one that is watched would else be carried over empty by who looks at the wrong moment.
    pub fn put(&self, name: &str, text: &str) {
        let whole = self.path(".put");
        std::fs::write(&whole, text).unwrap();
        std::fs::rename(whole, self.path(name)).unwrap();
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wl"));
        command
            .current_dir(self.dir.path())
            .env("HOME", self.path(""))
            .env_remove("WL_BASE_DIR")
            .env_remove("COLUMNS")
            .env_remove("RCLONE_CONFIG")
            .env_remove("XDG_CONFIG_HOME")
            .env("USER", "somebody")
            .stdin(Stdio::null());
        command
    }

    pub fn wl<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Done {
        Done::of(self.command().args(words).output().unwrap())
    }

    /// Runs a command line, cut at its spaces.
    pub fn run(&self, line: &str) -> Done {
        self.wl(line.split(' ').filter(|word| !word.is_empty()))
    }

    /// Runs a command line that must succeed.
    pub fn ok(&self, line: &str) -> Done {
        let done = self.run(line);
        assert_eq!(done.code, 0, "wl {line}: {done:?}");
        done
    }

    /// Runs a command line that prints one JSON document and nothing else on stdout.
    pub fn json(&self, line: &str) -> (i32, Value) {
        let done = self.run(&format!("--output json {line}"));
        let document = serde_json::from_str(&done.stdout);
        (
            done.code,
            document.unwrap_or_else(|error| panic!("wl {line}: {error}: {done:?}")),
        )
    }

    /// Whether this program was built with a storage type.
    pub fn has_type(&self, name: &str) -> bool {
        let (_, types) = self.json("storage types --all");
        let types = types["types"].as_array().unwrap();
        types.iter().any(|one| one["type"] == name)
    }

    /// Runs a command line with this text on its stdin.
    pub fn fed(&self, line: &str, stdin: &str) -> Done {
        let mut child = self
            .command()
            .args(line.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses at once does not read.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        Done::of(child.wait_with_output().unwrap())
    }

    /// What a person sees of command lines, with this home written as `[HOME]`.
    pub fn transcript(&self, lines: &[&str]) -> String {
        let home = self.path("");
        let home = home.to_str().unwrap().trim_end_matches('/');
        let mut text = String::new();
        for line in lines {
            let done = self.run(line);
            let Done {
                code,
                stdout,
                stderr,
            } = done;
            text += &format!("$ wl {line}\n{stdout}{stderr}(exit code {code})\n\n");
        }
        text.replace(home, "[HOME]")
    }
}

/// A file of the source tree.
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Compares a text with a snapshot.
pub fn snapshot(name: &str, text: &str) {
    let path = source("tests/cli/snapshots").join(name);
    let expected = snapbox::Data::read_from(&path, Some(snapbox::data::DataFormat::Text));
    snapbox::Assert::new()
        .action_env(snapbox::assert::DEFAULT_ACTION_ENV)
        .eq(snapbox::Data::text(text.to_owned()), expected.raw());
}
