//! The sources.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the workspace.
pub struct Source {
    /// Relative to the workspace, with `/`.
    pub path: String,
    pub text: String,
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// Every Rust file of the workspace, by path.
pub fn rust_files() -> Vec<Source> {
    let (root, mut sources) = (root(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            let relative = path
                .strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let is_folder = entry.file_type().unwrap().is_dir();
            if is_folder && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if !is_folder && name.ends_with(".rs") {
                let text = fs::read_to_string(path).unwrap();
                sources.push(Source {
                    path: relative,
                    text,
                });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// Applies a rule to every Rust file and expects no violation.
pub fn assert_all(rule: impl Fn(&str, &str) -> Vec<String>) {
    let sources = rust_files();
    assert!(sources.len() > 20, "the sources were not found");
    let violations: Vec<String> = sources
        .iter()
        .flat_map(|source| rule(&source.path, &source.text))
        .collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}
