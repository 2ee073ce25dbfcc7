//! What is mounted at the root or below it. That something is mounted over a folder makes no event in the folder.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use wl_core::model::SyncPath;

const TABLE: &str = "/proc/self/mountinfo";

/// The table of mounts, and what of it concerns a root.
#[derive(Debug)]
pub(super) struct Mounts {
    root: PathBuf,
    /// `None` where there is no such table.
    changed: Option<AsyncFd<File>>,
    known: BTreeSet<Mount>,
}

/// Where a mount is below the root, and what the table says of who it is: its number, which the system gives to the next one as soon as it
/// is unmounted, and so also its device and the folder of that device.
type Mount = (SyncPath, [String; 3]);

impl Mounts {
    /// Those at the moment.
    pub(super) fn new(root: &Path) -> Self {
        // As for the events, see there.
        #[allow(deprecated)]
        let register = |file| AsyncFd::with_interest(file, Interest::PRIORITY).ok();
        Self {
            root: root.to_owned(),
            changed: File::open(TABLE).ok().and_then(register),
            known: read(root),
        }
    }

    /// Waits until anything is mounted or unmounted anywhere. May be dropped.
    pub(super) async fn change(&self) {
        let Some(changed) = &self.changed else {
            return std::future::pending().await;
        };
        match changed.ready(Interest::PRIORITY).await {
            Ok(mut ready) => ready.clear_ready(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Where something was mounted or unmounted since the last time.
    pub(super) fn changed(&mut self) -> Vec<SyncPath> {
        let now = read(&self.root);
        let mut paths: Vec<SyncPath> = self
            .known
            .symmetric_difference(&now)
            .map(|(path, _)| path.clone())
            .collect();
        paths.dedup();
        self.known = now;
        paths
    }
}

fn read(root: &Path) -> BTreeSet<Mount> {
    let mut table = Vec::new();
    match File::open(TABLE).and_then(|mut file| file.read_to_end(&mut table)) {
        Ok(_) => below(root, &String::from_utf8_lossy(&table)),
        Err(_) => BTreeSet::new(),
    }
}

/// The mounts at `root` or below it; one above counts as one at the root.
fn below(root: &Path, table: &str) -> BTreeSet<Mount> {
    let mount = |line: &str| {
        let fields: Vec<&str> = line.splitn(6, ' ').collect();
        let [number, _, device, folder, at, _] = fields[..] else {
            return None;
        };
        let who = [number, device, folder].map(str::to_owned);
        let at = plain(at);
        let at = Path::new(&at);
        if root.starts_with(at) {
            return Some((SyncPath::root(), who));
        }
        let path = at.strip_prefix(root).ok()?.to_str()?;
        Some((SyncPath::new(path).ok()?, who))
    };
    table.lines().filter_map(mount).collect()
}

/// Blanks and a few others are written as octal numbers.
fn plain(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let octal = bytes.get(at + 1..at + 4).filter(|_| byte == b'\\');
        let code = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(code.unwrap_or(byte));
        at += if code.is_some() { 4 } else { 1 };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_concerns_the_root_is_taken_from_the_table() {
        let table = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                     30 22 0:26 / /data rw - tmpfs tmpfs rw\n\
                     31 30 0:27 / /data/root\\040x rw - tmpfs tmpfs rw\n\
                     32 31 0:28 / /data/root\\040x/a/\\303\\251\\134 rw - tmpfs tmpfs rw\n\
                     33 22 0:29 / /database rw - tmpfs tmpfs rw\n\
                     broken\n";
        let found = below(Path::new("/data/root x"), table);
        let found: Vec<_> = found
            .iter()
            .map(|(path, [number, ..])| (&**number, path.as_str()))
            .collect();
        assert_eq!(found, [("22", ""), ("30", ""), ("31", ""), ("32", "a/é\\")]);
    }

    /// The system gives the number of one that is unmounted to the next one.
    #[test]
    fn another_one_with_the_same_number_at_the_same_place_is_another_one() {
        let found = |what: &str| {
            let (device, folder) = what.split_once(' ').unwrap();
            let line = format!("30 22 {device} {folder} /root/m rw - tmpfs tmpfs rw\n");
            below(Path::new("/root"), &line)
        };
        let one = found("0:26 /");
        assert_ne!(one, found("0:27 /"), "another file system");
        assert_ne!(one, found("0:26 /b"), "another folder of it");
        assert_eq!(one, found("0:26 /"));
    }
}
