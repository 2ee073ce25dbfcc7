//! Sees, by inotify, every effect on the sides and on what the tool remembers, and looks at once at what people would see.

use std::collections::HashMap;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};

use super::history::{FILES, FOLDERS};
use super::ledger::Shared;
use crate::Result;

/// What a tool does, one at a time.
pub struct Effects {
    seen: Receiver<()>,
}

impl Effects {
    /// Watches the sides and another folder. It ends with the first event that nobody waits for any more; that the folders go
    /// away is one.
    pub fn of(sides: &[PathBuf; 2], private: &Path, ledger: &Shared) -> Result<Self> {
        let (sender, seen) = channel();
        let mut watch = Watch {
            inotify: init(CreateFlags::CLOEXEC)?,
            folders: HashMap::new(),
            sides: sides.clone(),
            ledger: ledger.clone(),
        };
        for folder in sides.iter().map(PathBuf::as_path).chain([private]) {
            watch.add(folder);
        }
        std::thread::spawn(move || watch.run(&sender));
        Ok(Self { seen })
    }

    /// Waits for an effect so long; whether there was one.
    pub fn next(&self, patience: Duration) -> bool {
        match self.seen.recv_timeout(patience) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(patience);
                false
            }
        }
    }

    /// Those so far are not waited for.
    pub fn forget(&self) {
        while self.seen.try_recv().is_ok() {}
    }

    /// Waits until there was none for so long; whether it came to that in time.
    pub fn quiet(&self, pause: Duration, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while self.next(pause) {
            if Instant::now() > end {
                return false;
            }
        }
        true
    }
}

struct Watch {
    inotify: OwnedFd,
    folders: HashMap<i32, PathBuf>,
    sides: [PathBuf; 2],
    ledger: Shared,
}

impl Watch {
    /// Watches a folder and all in it.
    fn add(&mut self, folder: &Path) {
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ONLYDIR;
        // A folder that has gone is not watched.
        let Ok(watch) = add_watch(&self.inotify, folder, flags) else {
            return;
        };
        self.folders.insert(watch, folder.to_owned());
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.add(&entry.path()),
                Ok(_) => self.look(&entry.path()),
                Err(_) => {}
            }
        }
    }

    fn run(mut self, sender: &Sender<()>) {
        let mut buffer = vec![MaybeUninit::uninit(); 1 << 16];
        loop {
            let mut found = Vec::new();
            {
                let mut reader = Reader::new(&self.inotify, &mut buffer);
                loop {
                    let Ok(event) = reader.next() else { return };
                    let name = event.file_name().map(|name| name.to_bytes().to_vec());
                    found.push((event.wd(), event.events(), name));
                    if reader.is_buffer_empty() {
                        break;
                    }
                }
            }
            for (watch, events, name) in found {
                self.handle(watch, events, name);
                if sender.send(()).is_err() {
                    return;
                }
            }
        }
    }

    fn handle(&mut self, watch: i32, events: ReadFlags, name: Option<Vec<u8>>) {
        let (Some(folder), Some(name)) = (self.folders.get(&watch), name) else {
            return;
        };
        let path = folder.join(String::from_utf8_lossy(&name).as_ref());
        let there = events.intersects(
            ReadFlags::CREATE | ReadFlags::MOVED_TO | ReadFlags::MODIFY | ReadFlags::CLOSE_WRITE,
        );
        if events.contains(ReadFlags::ISDIR) && there {
            self.add(&path);
        } else if there {
            self.look(&path);
        }
    }

    /// What is under a name of people must be what somebody wrote.
    fn look(&self, path: &Path) {
        let inside = self.sides.iter().enumerate();
        let found = inside.filter_map(|(side, root)| Some((side, path.strip_prefix(root).ok()?)));
        for (side, inside) in found {
            if !is_of_people(inside) {
                continue;
            }
            let mut ledger = self.ledger.hold();
            if let Ok(content) = fs::read(path) {
                ledger.look(&format!("{side}:{}", inside.display()), &content);
            }
        }
    }
}

/// Whether all of a path is made of names that people use.
pub fn is_of_people(path: &Path) -> bool {
    let known = |name: &str| FILES.contains(&name) || FOLDERS.contains(&name);
    path.iter().all(|name| name.to_str().is_some_and(known))
}
