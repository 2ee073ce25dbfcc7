//! Two real folders, a base directory and the `wl` that keeps them equal.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use wl_test_trees::Tree;

use crate::trees;

/// The folders `a` and `b`, and a base directory beside them.
pub struct Pair {
    dir: TempDir,
    pub a: PathBuf,
    pub b: PathBuf,
    pub base: PathBuf,
    nobody: bool,
}

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub report: Value,
    pub stderr: String,
}

impl Ran {
    fn list(&self, list: &str, field: &str) -> Vec<String> {
        let items = self.report[list].as_array().into_iter().flatten();
        items
            .map(|item| item[field].as_str().unwrap().to_owned())
            .collect()
    }

    pub fn conflicts(&self) -> Vec<String> {
        self.list("conflicts", "path")
    }

    pub fn problems(&self) -> Vec<String> {
        self.list("problems", "path")
    }

    pub fn reasons(&self) -> String {
        self.list("problems", "reason").join("\n")
    }

    /// The class of the error that stopped the run.
    pub fn class(&self) -> &str {
        self.report["error"]["class"].as_str().unwrap_or("none")
    }

    pub fn desc(&self) -> &str {
        self.report["error"]["desc"].as_str().unwrap_or("none")
    }

    #[track_caller]
    pub fn synced(&self) {
        assert_eq!(self.code, 0, "{}\n{:#}", self.stderr, self.report);
        assert_eq!(self.report["result"], "synced");
    }

    #[track_caller]
    pub fn refused(&self, class: &str) {
        let found = (self.code, self.class());
        assert_eq!(found, (1, class), "{}\n{:#}", self.stderr, self.report);
        let changes = self.report["changes"].to_string();
        assert!(!changes.contains(|c: char| ('1'..='9').contains(&c)));
    }
}

/// A folder in memory where there is one.
pub fn folder() -> TempDir {
    let shm = Path::new("/dev/shm");
    let dir = match shm.is_dir() {
        true => TempDir::new_in(shm),
        false => TempDir::new(),
    };
    dir.unwrap()
}

impl Pair {
    pub fn new() -> Self {
        let dir = folder();
        let at = |name: &str| dir.path().canonicalize().unwrap().join(name);
        let (a, b, base) = (at("a"), at("b"), at("base"));
        for folder in [&a, &b] {
            std::fs::create_dir(folder).unwrap();
        }
        Self {
            dir,
            a,
            b,
            base,
            nobody: false,
        }
    }

    /// A pair that belongs to nobody, and whose `wl` runs as nobody: what may not be read is not read. As an ordinary user,
    /// it is that user's.
    pub fn of_nobody() -> Option<Self> {
        let mut pair = Self::new();
        if !rustix::process::geteuid().is_root() {
            return Some(pair);
        }
        if !crate::skip::can_be_nobody() {
            return None;
        }
        pair.nobody = true;
        for folder in [pair.dir.path(), &pair.a, &pair.b] {
            std::os::unix::fs::chown(folder, Some(65534), Some(65534)).unwrap();
        }
        Some(pair)
    }

    /// Gives everything in both folders to the user whose `wl` runs.
    pub fn give(&self) {
        if self.nobody {
            let done = Command::new("chown")
                .args(["-hR", "65534:65534"])
                .args([&self.a, &self.b])
                .status();
            assert!(done.unwrap().success());
        }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let wl = env!("CARGO_BIN_EXE_wl");
        let mut command = match self.nobody {
            false => Command::new(wl),
            true => {
                let mut command = Command::new("setpriv");
                command
                    .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                    .arg(wl);
                command
            }
        };
        command
            .arg("-b")
            .arg(&self.base)
            .args(words)
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env_remove("WL_BASE_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn words(&self, options: &str) -> Vec<std::ffi::OsString> {
        let mut words: Vec<_> = ["sync", "--output", "json"].map(Into::into).into();
        words.extend([self.a.clone().into(), self.b.clone().into()]);
        words.extend(options.split_whitespace().map(Into::into));
        words
    }

    /// Begins to sync the two folders.
    pub fn start(&self, options: &str) -> Child {
        self.command(self.words(options)).spawn().unwrap()
    }

    /// Syncs the two folders.
    pub fn sync(&self, options: &str) -> Ran {
        self.ran(self.words(options))
    }

    /// Any command that prints one JSON document.
    pub fn ran<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Ran {
        ended(self.command(words).output().unwrap())
    }

    /// Both folders' trees.
    pub fn trees(&self) -> (Tree, Tree) {
        (trees::read(&self.a), trees::read(&self.b))
    }

    #[track_caller]
    pub fn assert_equal(&self) {
        let (a, b) = self.trees();
        assert_eq!(a, b);
    }

    /// Loses the baseline.
    pub fn forget(&self) {
        let state = self.base.join("state");
        if state.exists() {
            std::fs::remove_dir_all(state).unwrap();
        }
    }
}

/// What a finished process came to.
pub fn ended(out: std::process::Output) -> Ran {
    let stderr = String::from_utf8(out.stderr).unwrap();
    Ran {
        code: out.status.code().unwrap_or_else(|| panic!("{stderr}")),
        report: serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|error| panic!("{error}: {stderr}")),
        stderr,
    }
}
