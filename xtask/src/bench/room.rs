//! A folder of our own on the RAM-backed file system, which goes away with us.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::Result;
use crate::run::output;

/// Removes the folder named when its stdin ends. That happens when we are done, and also when we are interrupted or killed.
const GUARD: &str = "\
trap '' INT TERM HUP
cat >/dev/null
rm -rf -- \"$1\" || { sleep 2; rm -rf -- \"$1\"; }
";

/// The folder. Dropping it removes it.
pub struct Room {
    path: PathBuf,
    guard: Child,
}

impl Room {
    /// Makes a folder in `dir` if there are so many bytes free, in the file system and in memory.
    pub fn new(dir: &Path, needed: u64) -> Result<Self> {
        let free = free_in(dir)?;
        let memory = fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| available(&text));
        if free.min(memory.unwrap_or(u64::MAX)) < needed {
            let mib = |bytes: u64| bytes >> 20;
            return Err(format!(
                "{} MiB are needed in {}; {} MiB are free there, {} MiB in memory. Use fewer --files or --tools",
                mib(needed),
                dir.display(),
                mib(free),
                mib(memory.unwrap_or_default()),
            )
            .into());
        }
        let path = std::path::absolute(dir)?.join(format!("wl-bench-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let guard = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()?;
        Ok(Self { path, guard })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn free_in(dir: &Path) -> Result<u64> {
    let told = output(Command::new("df").args(["--output=avail", "-B1"]).arg(dir))?;
    let free = told
        .lines()
        .last()
        .and_then(|line| line.trim().parse().ok());
    free.ok_or_else(|| format!("df does not say what is free in {}", dir.display()).into())
}

/// What `/proc/meminfo` says can be had without swapping.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_goes_away_with_its_owner() {
        let room = Room::new(&std::env::temp_dir(), 1).unwrap();
        let path = room.path().to_path_buf();
        fs::write(path.join("file"), "x").unwrap();
        drop(room);
        assert!(!path.exists());
    }

    #[test]
    fn too_little_space_is_refused() {
        assert!(Room::new(&std::env::temp_dir(), u64::MAX / 2).is_err());
    }

    #[test]
    fn meminfo_is_read() {
        assert_eq!(
            available("MemFree: 1 kB\nMemAvailable:   2048 kB\n"),
            Some(2 << 20)
        );
    }
}
