//! Sees the moment in which something has come to be.
//!
//! inotify on the folders in question wakes a thread that notes the time; nothing is polled while a change is waited for.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init, remove_watch};

use crate::Result;

/// Looked again after so long without an event: what is found then was not told, which is counted.
const DOUBT: Duration = Duration::from_millis(500);

pub struct Eye {
    inotify: Arc<OwnedFd>,
    events: Receiver<Instant>,
    watches: Vec<i32>,
    doubt: Duration,
    /// How often something was there that no event had told.
    pub untold: u64,
}

impl Eye {
    pub fn new() -> Result<Self> {
        let inotify = Arc::new(init(CreateFlags::CLOEXEC)?);
        let (sender, events) = channel();
        let theirs = inotify.clone();
        // It ends with the first event after the receiver is gone, or with the program.
        std::thread::spawn(move || {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = Reader::new(theirs, &mut buffer);
            while reader.next().is_ok() {
                if sender.send(Instant::now()).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            inotify,
            events,
            watches: Vec::new(),
            doubt: DOUBT,
            untold: 0,
        })
    }

    /// Looks at these folders, and at no others any more.
    pub fn look_at(&mut self, folders: &[&Path]) -> Result<()> {
        for watch in self.watches.drain(..) {
            // It may have gone with its folder.
            let _ = remove_watch(&self.inotify, watch);
        }
        for folder in folders {
            let flags = WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MOVE
                | WatchFlags::MODIFY
                | WatchFlags::CLOSE_WRITE;
            self.watches.push(add_watch(&self.inotify, *folder, flags)?);
        }
        while self.events.try_recv().is_ok() {}
        Ok(())
    }

    /// When `done` first said yes; `None` if it did not in time.
    pub fn see(&mut self, patience: Duration, done: impl Fn() -> bool) -> Option<Instant> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            match self.events.recv_timeout(self.doubt.min(left)) {
                Ok(at) if done() => return Some(at),
                Ok(_) => {}
                Err(_) if done() => {
                    self.untold += 1;
                    return Some(Instant::now());
                }
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_sees_what_comes_and_what_goes_and_not_what_does_not() {
        let folder = std::env::temp_dir().join(format!("wl-eye-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("file");
        let mut eye = Eye::new().unwrap();
        // However late the thread that hears of it is, it is heard of.
        eye.doubt = Duration::from_secs(120);
        eye.look_at(&[&folder]).unwrap();
        let begin = Instant::now();
        let is_whole = || std::fs::read(&file).is_ok_and(|content| content == b"whole");
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::fs::write(&file, "half").unwrap();
                std::fs::write(&file, "whole").unwrap();
            });
            eye.see(Duration::from_secs(120), is_whole)
        });
        assert!(seen.unwrap() >= begin);
        assert_eq!(eye.untold, 0);
        std::fs::remove_file(&file).unwrap();
        assert!(
            eye.see(Duration::from_secs(120), || !file.exists())
                .is_some()
        );
        assert!(
            eye.see(Duration::from_millis(1), || file.exists())
                .is_none()
        );
        std::fs::remove_dir(&folder).unwrap();
    }
}
