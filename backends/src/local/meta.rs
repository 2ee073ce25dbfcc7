//! From system attributes to wl's words: tokens, modes, what is settled.

use wl_core::model::{Kind, Meta, Mode, Timestamp, Token};

use super::kernel::Fd;
use super::sys::{self, Stat, Sys};

/// What has to be known of the root's file system to judge an entry's attributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// The root's device.
    pub(super) dev: u64,
    /// The number of the mount that the root was opened through; 0 where the system does not tell. Another one after each mount, so it is
    /// compared with those of this moment only.
    pub(super) mount: u64,
    /// Times are kept to two seconds or so, and there is no true ctime.
    pub(super) coarse: bool,
}

/// A file changed within this time may change again without its times showing it: the system's clock for files ticks
/// every 1 to 10 ms.
const TICK: u32 = 20_000_000;
/// The token of folders that a bind mount shows. Stored in baselines.
const BOUND: &str = "bind";

impl Facts {
    /// Whether an equal token later proves equal content. `now` was read before the attributes were.
    ///
    /// A later write sets both times to the clock, so it is enough that one of them cannot come again: the mtime, or
    /// (where a program set the mtime into the future) the ctime.
    pub(super) fn settled(&self, stat: &Stat, now: Timestamp) -> bool {
        if self.coarse {
            return now.secs - stat.mtime.secs > 2;
        }
        aged(stat.mtime, now) || aged(stat.ctime, now)
    }

    /// The token of a folder on the root's own file system: empty, but for what another mount shows there (a bind mount). That has the same
    /// token whatever is bound, as nothing of a mount is the same after the next one. `None`: another file system.
    pub(super) fn near_token(&self, stat: &Stat) -> Option<Token> {
        if stat.dev != self.dev {
            return None;
        }
        let told = stat.mount != 0 && self.mount != 0;
        let bound = told && stat.mount != self.mount;
        Some(Token::new(if bound { BOUND } else { "" }))
    }

    /// The attributes of an entry. A folder's token needs [`folder_token`]; a link's target is given.
    pub(super) fn meta(&self, kind: Kind, stat: &Stat, now: Timestamp, token: Token) -> Meta {
        Meta {
            kind,
            size: if kind == Kind::File { stat.size } else { 0 },
            mtime: Some(stat.mtime),
            mode: (kind != Kind::Link).then(|| Mode::new(stat.mode)),
            token,
            settled: kind == Kind::Folder || self.settled(stat, now),
            file_id: stat.file_id(),
            hash: None,
            link: None,
        }
    }
}

fn aged(time: Timestamp, now: Timestamp) -> bool {
    match now.secs - time.secs {
        0 => now.nanos.saturating_sub(time.nanos) >= TICK,
        1 => now.nanos + (1_000_000_000 - time.nanos) >= TICK,
        seconds => seconds > 1,
    }
}

/// The token of a file or link: inode, size, mtime and ctime. Without the device, whose number changes over reboots.
pub(super) fn file_token(stat: &Stat) -> Token {
    let mut text = TokenText::default();
    text.hex(stat.ino);
    text.byte(b'-');
    text.hex(stat.size);
    text.byte(b'-');
    text.time(stat.mtime);
    text.byte(b'-');
    text.time(stat.ctime);
    Token::new(text.as_str())
}

/// What of a file token survives a rename.
pub(super) fn token_stem(token: &str) -> &str {
    token.rfind('-').map_or(token, |at| &token[..at])
}

/// The ctime that a file token tells; `None` for what is no file's.
pub(super) fn token_ctime(token: &str) -> Option<Timestamp> {
    let (secs, nanos) = token.rsplit_once('-')?.1.split_once('.')?;
    Some(Timestamp {
        secs: u64::from_str_radix(secs, 16).ok()? as i64,
        nanos: u32::from_str_radix(nanos, 16).ok()?,
    })
}

/// The token of the folder `name`: see [`Facts::near_token`]; on another file system its name.
pub(super) fn folder_token(facts: &Facts, stat: &Stat, folder: &Fd, name: &str) -> Token {
    if let Some(token) = facts.near_token(stat) {
        return token;
    }
    let marker = super::dir::open_folder(folder, name, super::dir::PATH)
        .and_then(|opened| super::root::file_system(&opened, stat.dev));
    Token::new(marker.unwrap_or_else(|_| format!("dev-{:x}", stat.dev)))
}

/// The full attributes of `name` in `folder`. `Ok(None)`: a special file, or a link that is no text.
pub(super) fn meta_at(facts: &Facts, folder: &Fd, name: &str) -> Sys<Option<Meta>> {
    let now = folder.now();
    let stat = sys::stat_at(folder, name)?;
    let Some(kind) = stat.kind() else {
        return Ok(None);
    };
    let token = match kind {
        Kind::Folder => folder_token(facts, &stat, folder, name),
        _ => file_token(&stat),
    };
    let mut meta = facts.meta(kind, &stat, now, token);
    if kind == Kind::Link {
        let Ok(target) = String::from_utf8(sys::read_link(folder, name)?) else {
            return Ok(None);
        };
        meta.link = Some(target.into());
    }
    Ok(Some(meta))
}

/// Hexadecimal text without allocation; six numbers of at most 16 digits and five marks.
struct TokenText {
    bytes: [u8; 104],
    used: usize,
}

impl Default for TokenText {
    fn default() -> Self {
        Self {
            bytes: [0; 104],
            used: 0,
        }
    }
}

impl TokenText {
    fn byte(&mut self, byte: u8) {
        self.bytes[self.used] = byte;
        self.used += 1;
    }

    fn hex(&mut self, value: u64) {
        let digits = (16 - value.leading_zeros() as usize / 4).max(1);
        for place in (0..digits).rev() {
            self.byte(b"0123456789abcdef"[(value >> (place * 4)) as usize & 15]);
        }
    }

    fn time(&mut self, time: Timestamp) {
        self.hex(time.secs as u64);
        self.byte(b'.');
        self.hex(u64::from(time.nanos));
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.used]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64, nanos: u32) -> Timestamp {
        Timestamp { secs, nanos }
    }

    #[test]
    fn a_token_names_all_that_changes() {
        let stat = Stat {
            ino: 0x1f,
            size: 0,
            mtime: at(16, 255),
            ctime: at(-1, 0),
            mode: 0o100_644,
            dev: 7,
            born: 0,
            mount: 1,
        };
        let token = file_token(&stat);
        assert_eq!(token.as_str(), "1f-0-10.ff-ffffffffffffffff.0");
        assert_eq!(token_stem(token.as_str()), "1f-0-10.ff");
        assert_eq!(token_ctime(token.as_str()), Some(at(-1, 0)));
    }

    #[test]
    fn only_another_mount_of_the_same_device_is_bound() {
        let token = |dev, mount, root_mount| {
            let facts = Facts {
                dev: 7,
                mount: root_mount,
                coarse: false,
            };
            let stat = Stat {
                ino: 1,
                size: 0,
                mtime: at(16, 255),
                ctime: at(17, 0),
                mode: 0o040_755,
                dev,
                born: 0,
                mount,
            };
            let token = facts.near_token(&stat);
            token.map(|token| token.as_str().to_owned())
        };
        assert_eq!(token(7, 3, 3).as_deref(), Some(""));
        assert_eq!(token(7, 4, 3).as_deref(), Some("bind"));
        assert_eq!(token(8, 4, 3), None, "another file system has a name");
        // A system that tells no mounts knows of no other one.
        assert_eq!(token(7, 0, 0).as_deref(), Some(""));
        assert_eq!(token(7, 4, 0).as_deref(), Some(""));
        assert_eq!(token(7, 0, 3).as_deref(), Some(""));
    }

    fn stat(ino: u64, born: u64) -> Stat {
        Stat {
            ino,
            size: 5,
            mtime: at(16, 255),
            ctime: at(17, 0),
            mode: 0o100_644,
            dev: 7,
            born,
            mount: 1,
        }
    }

    #[test]
    fn a_number_that_was_given_to_the_next_file_is_another_id() {
        assert_eq!(stat(1, 2).file_id(), stat(1, 2).file_id());
        assert_ne!(stat(1, 2).file_id(), stat(1, 3).file_id());
        assert_ne!(stat(1, 2).file_id(), stat(2, 2).file_id());
        assert_eq!(stat(1, 0).file_id(), None, "nobody knows how old it is");
        // A number that needs all of its bits, too.
        assert_ne!(stat(1 << 63, 2).file_id(), stat(1 << 62, 2).file_id());
    }

    /// An index of them is written in few places when many files are made at once.
    #[test]
    fn what_was_made_together_has_ids_side_by_side() {
        let born = |ino| 1_800_000_000_000_000_000 + ino % 3;
        let id = |ino| stat(ino, born(ino)).file_id().unwrap().0;
        let ids: Vec<u64> = (70_000..80_000).map(id).collect();
        assert!(ids.is_sorted_by(|one, next| one < next));
        assert!(ids[9_999] - ids[0] < 10_001 << 24);
    }

    #[test]
    fn young_times_prove_nothing() {
        assert!(!aged(at(10, 999_999_999), at(11, 0)));
        assert!(aged(at(10, 980_000_000), at(11, 0)));
        assert!(!aged(at(10, 5), at(10, 20_000_004)));
        assert!(aged(at(10, 5), at(10, 20_000_005)));
        assert!(!aged(at(12, 0), at(11, 0)), "a time in the future");
        assert!(aged(at(9, 999_999_999), at(11, 0)));
    }
}
