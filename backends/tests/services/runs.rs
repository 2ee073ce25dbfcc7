//! Whole two-way runs of the real `wl`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use wl_core::storage::CasGrade;

use crate::servers::{Place, Server};

const FILES: usize = 200;

type Tree = BTreeMap<String, Vec<u8>>;

/// Content that is no repetition of itself.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ (seed + 1);
    let words = (0..bytes / 8 + 1).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let mut content: Vec<u8> = words.flatten().collect();
    content.truncate(bytes);
    content
}

fn write(root: &Path, path: &str, content: &[u8]) {
    let at = root.join(path);
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::fs::write(at, content).unwrap();
}

/// The files below a folder, but for what is the storage's own.
fn files(root: &Path, below: &str, found: &mut Tree) {
    for entry in std::fs::read_dir(root.join(below)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = if below.is_empty() {
            name
        } else {
            format!("{below}/{name}")
        };
        if path == ".wl" {
            continue;
        }
        match root.join(&path).is_dir() {
            true => files(root, &path, found),
            false => {
                found.insert(path.clone(), std::fs::read(root.join(path)).unwrap());
            }
        }
    }
}

/// A home, a folder, and a root on the server.
struct Pair {
    home: TempDir,
    place: Place,
}

impl Pair {
    async fn wl(&self, more: &[&str]) -> (i32, Value) {
        let wl = std::env::var_os("WL_BIN").expect("WL_BIN must name a built wl");
        let mut command = tokio::process::Command::new(wl);
        command
            .args(["--output", "json", "sync"])
            .arg(self.local())
            .arg(&self.place.url);
        for (name, value) in &self.place.options {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            command.arg("--target-option").arg(format!("{name}={text}"));
        }
        command
            .args(more)
            .env("HOME", self.home.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("WL_BASE_DIR")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let out = command.output().await.unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let report = serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("{error}: {text}{}", String::from_utf8_lossy(&out.stderr))
        });
        (out.status.code().unwrap_or(-1), report)
    }

    /// A run that must do so many changes on each side and leave nothing open.
    async fn does(&self, source: u64, target: u64) -> Value {
        let (code, report) = self.wl(&[]).await;
        assert_eq!(code, 0, "{report:#}");
        let changes = |side: &str| {
            let all = report["changes"][side].as_object().unwrap();
            let of_files = all.values().filter_map(Value::as_u64);
            of_files.sum::<u64>()
        };
        let done = (changes("source"), changes("target"));
        assert_eq!(done, (source, target), "{report:#}");
        report
    }

    fn local(&self) -> std::path::PathBuf {
        self.home.path().join("folder")
    }

    /// Both sides hold exactly this.
    async fn holds(&self, wanted: &Tree, gone: &[&str]) {
        let mut local = Tree::new();
        files(&self.local(), "", &mut local);
        let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&local), names(wanted), "here");
        assert!(local == *wanted, "another content here");
        for (path, content) in wanted {
            let there = self.place.editor.read(path).await;
            assert!(
                there.as_ref() == Some(content),
                "{path}: another content there"
            );
        }
        for path in gone {
            assert_eq!(self.place.editor.read(path).await, None, "{path} is there");
        }
    }
}

/// Some servers list these in the order of their bytes, some folder by folder.
const ORDER: [&str; 6] = ["o-p", "o.p/q", "o/p", "o/q-r", "o/q/r", "o0"];

/// A first run, one with nothing to do, one after edits on both sides, and once more nothing.
pub async fn all(server: &Server) -> String {
    let place = server.place("runs");
    let pair = Pair {
        home: TempDir::new().unwrap(),
        place,
    };
    let mut wanted = Tree::new();
    for (number, path) in ORDER.into_iter().enumerate() {
        let content = noise(number * 7 + server.least, 2000 + number as u64);
        wanted.insert(path.to_owned(), content);
    }
    for number in 0..FILES - 1 - ORDER.len() {
        let path = format!("d{}/e{}/file {number}.txt", number % 7, number % 3);
        wanted.insert(path, noise(number * 37 + server.least, number as u64));
    }
    wanted.insert("large.bin".to_owned(), noise(server.large, 1000));
    for (path, content) in &wanted {
        write(&pair.local(), path, content);
    }
    let (code, report) = pair.wl(&[]).await;
    assert_eq!(code, 0, "{report:#}");
    let first = report["seconds"].as_f64().unwrap_or_default();
    pair.holds(&wanted, &[]).await;
    let again = pair.does(0, 0).await;
    let second = again["seconds"].as_f64().unwrap_or_default();

    edit(&pair, &mut wanted).await;
    pair.does(3, 3).await;
    pair.holds(&wanted, &["d1/e1/file 1.txt", "d2/e2/file 2.txt"])
        .await;
    pair.does(0, 0).await;

    // One way: the folder here is a written side otherwise, and no folder is atomic.
    let (code, report) = pair
        .wl(&["--unidirectional", "--require-cas", "atomic"])
        .await;
    let is_atomic = server.grade == CasGrade::Atomic;
    assert_eq!(code == 0, is_atomic, "--require-cas atomic: {report:#}");
    if !is_atomic {
        let text = report.to_string();
        assert!(text.contains("lower --require-cas"), "{text}");
    }
    format!(
        "{FILES} files, one of {} MiB, in {first:.1} s, again in {second:.1} s",
        server.large >> 20
    )
}

/// Three changes on each side.
async fn edit(pair: &Pair, wanted: &mut Tree) {
    let (local, editor) = (pair.local(), &pair.place.editor);
    for (path, content) in [("d0/e0/file 0.txt", "here"), ("d0/new here.txt", "new")] {
        write(&local, path, content.as_bytes());
        wanted.insert(path.to_owned(), content.into());
    }
    std::fs::remove_file(local.join("d1/e1/file 1.txt")).unwrap();
    wanted.remove("d1/e1/file 1.txt");
    // The same size as before: times and tags have to tell it.
    let same_size = noise(wanted["d3/e0/file 3.txt"].len(), 2000);
    editor.write("d3/e0/file 3.txt", &same_size).await;
    wanted.insert("d3/e0/file 3.txt".to_owned(), same_size);
    editor.write("d0/new there.txt", b"newer").await;
    wanted.insert("d0/new there.txt".to_owned(), b"newer".to_vec());
    editor.remove("d2/e2/file 2.txt").await;
    wanted.remove("d2/e2/file 2.txt");
}
