//! What the system does not do: file systems without events, and limits, with the command that raises them.

use rustix::io::Errno;

use super::How;
use super::words::Why;

/// File systems that change elsewhere, or by a program, without an event here.
const SILENT: [(i64, &str); 16] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb3"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "afs"),
    (0x7375_7245, "coda"),
    (0x564c, "ncp"),
    (0x0bd0_0bd0, "lustre"),
    (0x0116_1970, "gfs2"),
    (0x7461_636f, "ocfs2"),
    (0x786f_4256, "vboxsf"),
    (0xbacb_acbc, "vmhgfs"),
];

/// File systems on which the handle of a folder is the same for as long as there is the folder, also once the system has forgotten it in
/// between. Of vfat it is not: its events would pass for those of strangers. What is not known is not relied on.
const LASTING: [i64; 7] = [
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0x0102_1994, // tmpfs
    0xf2f5_2010, // f2fs
    0xca45_1a4e, // bcachefs
    0x794c_7630, // overlay, where it has handles at all
];

/// Whether handles of this file system last, by its magic number.
pub(super) fn handles_last(magic: i64) -> bool {
    LASTING.contains(&(magic & 0xffff_ffff))
}

/// The name of a file system that sends no events, by its magic number.
pub(super) fn silent(magic: i64) -> Option<&'static str> {
    // Some of the numbers have the highest bit of 32 set, which a system may have extended.
    let magic = magic & 0xffff_ffff;
    let mut all = SILENT.iter();
    all.find(|(known, _)| *known == magic)
        .map(|(_, name)| *name)
}

/// A limit of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    /// Its name.
    pub(super) name: &'static str,
    /// As much as it allows now, where that is known.
    pub(super) now: Option<u64>,
    /// What would be enough for most.
    pub(super) better: u64,
}

impl Limit {
    /// What limits the watches. In a container it may be the container's own limit.
    pub(super) fn of_watches() -> Self {
        let own = "user.max_inotify_watches";
        Self::lower(own, "fs.inotify.max_user_watches", 524_288)
    }

    /// What limits the watchers; the same holds of it.
    fn of_instances() -> Self {
        let own = "user.max_inotify_instances";
        Self::lower(own, "fs.inotify.max_user_instances", 1024)
    }

    /// What limits the events that wait to be taken; it is the same everywhere.
    pub(super) fn of_events(how: How) -> Self {
        let name = match how {
            How::Inotify => "fs.inotify.max_queued_events",
            How::Fanotify => "fs.fanotify.max_queued_events",
        };
        Self::named(name, 65_536)
    }

    fn named(name: &'static str, better: u64) -> Self {
        Self {
            name,
            now: read(&format!("/proc/sys/{}", name.replace('.', "/"))),
            better,
        }
    }

    /// The limit that is reached first: to raise the other one would not help.
    fn lower(own: &'static str, all: &'static str, better: u64) -> Self {
        let (own, all) = (Self::named(own, better), Self::named(all, better));
        match (own.now, all.now) {
            (Some(inner), Some(outer)) if inner < outer => own,
            _ => all,
        }
    }

    /// What to say of it.
    pub(super) fn text(&self) -> String {
        let Self { name, now, better } = *self;
        let now_text = now.map_or(String::new(), |now| format!(" ({now})"));
        let better = better.max(now.unwrap_or(0).saturating_mul(2));
        format!("the limit {name}{now_text} is reached; raise it with: sudo sysctl {name}={better}")
    }
}

/// Why the system gives no way to watch at all.
pub(super) fn no_instance(errno: Errno) -> Why {
    Why::Refused(match errno {
        // The same error for two limits: one of them allows no file at all.
        Errno::MFILE if std::fs::File::open("/").is_ok() => Limit::of_instances().text(),
        Errno::MFILE | Errno::NFILE => "too many open files; raise `ulimit -n`".to_owned(),
        errno => format!("inotify: {}", std::io::Error::from(errno)),
    })
}

fn read(file: &str) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}
