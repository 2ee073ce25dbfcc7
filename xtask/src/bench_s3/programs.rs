//! Where the server and the peers are.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::services;

/// The folders in which programs are looked for, in order.
pub struct Programs(Vec<PathBuf>);

impl Programs {
    /// Where `cargo xtask services install` puts them, then `PATH`.
    pub fn new() -> Self {
        let services = services::dir();
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = vec![services.join("bin"), services.join("python/bin")];
        folders.extend(std::env::split_paths(&paths));
        Self(folders)
    }

    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let mut places = self.0.iter().map(|folder| folder.join(name));
        let found = places.find(|place| place.is_file())?;
        let found = found.canonicalize().unwrap_or(found);
        Some(behind_script(&found, name).unwrap_or(found))
    }
}

/// The program that a Python package's script starts. The script takes about 0.1 s that are not the tool's.
fn behind_script(script: &Path, name: &str) -> Option<PathBuf> {
    let mut start = [0; 2];
    fs::File::open(script).ok()?.read_exact(&mut start).ok()?;
    if start != *b"#!" {
        return None;
    }
    let pythons = fs::read_dir(script.parent()?.parent()?.join("lib")).ok()?;
    let mut programs = pythons.filter_map(|python| {
        let packages = python.ok()?.path().join("site-packages");
        Some(packages.join(name).join("bin").join(name))
    });
    programs.find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_order_and_behind_their_scripts() {
        let room = std::env::temp_dir().join(format!("wl-programs-{}", std::process::id()));
        let package = room.join("lib/python3.11/site-packages/tool/bin");
        for folder in [&room.join("bin"), &room.join("other"), &package] {
            fs::create_dir_all(folder).unwrap();
        }
        let room = room.canonicalize().unwrap();
        fs::write(room.join("bin/tool"), "#!/usr/bin/python3\n").unwrap();
        fs::write(package.join("tool"), "\x7fELF").unwrap();
        fs::write(room.join("bin/plain"), "\x7fELF").unwrap();
        fs::write(room.join("other/plain"), "#!/bin/sh\n").unwrap();
        let programs = Programs(vec![room.join("bin"), room.join("other")]);
        let found = |name| programs.find(name);
        let behind = room.join("lib/python3.11/site-packages/tool/bin/tool");
        assert_eq!(found("tool"), Some(behind));
        assert_eq!(found("plain"), Some(room.join("bin/plain")));
        assert_eq!(found("none"), None);
        fs::remove_dir_all(&room).unwrap();
    }
}
