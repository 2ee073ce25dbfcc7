//! What needs root or a tool says so when it cannot be done here.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Says why a test did nothing.
pub fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// Whether commands can be run as nobody from here.
pub fn can_be_nobody() -> bool {
    let done = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(env!("CARGO_BIN_EXE_wl"))
        .arg("--version")
        .output();
    let can = done.is_ok_and(|done| done.status.success());
    if !can {
        skipped("`wl` cannot be run as nobody here");
    }
    can
}

/// A small file system in memory; only root may mount one.
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts it at a folder, which is made.
    pub fn new(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=0755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "wl-test"])
            .arg(at)
            .output();
        if mounted.is_ok_and(|done| done.status.success()) {
            return Some(Self(at.to_owned()));
        }
        skipped("a file system cannot be mounted here");
        None
    }

    /// Shows the folder `from` at another folder as well, which is made.
    pub fn bind(from: &Path, at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let bound = Command::new("mount")
            .arg("--bind")
            .args([from, at])
            .output();
        if bound.is_ok_and(|done| done.status.success()) {
            return Some(Self(at.to_owned()));
        }
        skipped("a folder cannot be mounted here");
        None
    }

    /// Makes room.
    pub fn grow(&self, size: &str) {
        let done = Command::new("mount")
            .args(["-o", &format!("remount,size={size}")])
            .arg(&self.0)
            .status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
