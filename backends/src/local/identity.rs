//! What tells a root folder from another one that took its place.
//!
//! An inode number alone comes again: the folder that is made after another was deleted often gets its number. The time of birth
//! tells those apart. But neither is the folder's own everywhere, and what changes by itself would stop every job after a restart.
//! See `docs/decisions/0014-a-pair-remembers-its-root-folders.md`.

use wl_core::model::ContentHash;
use wl_core::storage::RootMarker;

use super::kernel::Fd;
use super::sys::{Stat, Sys};

/// File systems on a disk (or in memory) that keep a folder's inode number and its time of birth as long as the folder is there: ext2
/// to ext4, XFS, btrfs, F2FS, bcachefs, ZFS, tmpfs, JFS, NILFS2, NTFS.
const KEEPS: [i64; 10] = [
    0xef53,
    XFS,
    0x9123_683e,
    F2FS,
    0xca45_1a4e,
    0x2fc1_2fc1,
    0x0102_1994,
    0x3153_464a,
    0x3434,
    0x7366_746e,
];
const XFS: i64 = 0x5846_5342;
const F2FS: i64 = 0xf2f5_2010;
const NFS: i64 = 0x6969;
/// File systems that are somewhere else and whose inode numbers may be invented as they are asked for: FUSE (sshfs, rclone), CIFS,
/// SMB 2, 9p, Ceph. Where they were mounted from is known.
const ELSEWHERE: [i64; 5] = [
    0x6573_5546,
    0xff53_4d42,
    0xfe53_4d42,
    0x0102_1997,
    0x00c3_6400,
];

/// Whether the inode number and the time of birth of an open folder are its own as long as this process runs.
pub(super) fn is_told_apart(folder: &Fd) -> bool {
    folder
        .magic()
        .is_ok_and(|magic| Keeping::of(magic) == Keeping::Both)
}

/// What a file system does with folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeping {
    /// Inode number and time of birth stay.
    Both,
    /// The inode number stays. A time of birth is told by some kernels only, or by some servers.
    Inode,
    /// Only where it is mounted from is known.
    Place,
    /// Nothing that stays: FAT invents inode numbers and keeps local time; overlay changes both when a folder is first written to.
    Nothing,
}

impl Keeping {
    fn of(magic: i64) -> Self {
        match magic {
            NFS => Self::Inode,
            magic if KEEPS.contains(&magic) => Self::Both,
            magic if ELSEWHERE.contains(&magic) => Self::Place,
            _ => Self::Nothing,
        }
    }
}

/// The marker of the open folder.
pub(super) fn marker(folder: &Fd, stat: &Stat) -> Sys<RootMarker> {
    let magic = folder.magic()?;
    let named = folder.volume()?.id != 0;
    let keeping = Keeping::of(magic);
    let place = match keeping {
        Keeping::Inode | Keeping::Place => mounted_from(folder),
        Keeping::Both | Keeping::Nothing => None,
    };
    // What stands for the file system is the number of its device or its mount: after a restart they are counted in another order.
    let renumbered = match keeping {
        Keeping::Both => matches!(magic, XFS | F2FS) && stat.born != 0,
        _ => !named && place.is_some(),
    };
    Ok(RootMarker {
        // The boot and the mount would not do: numbers of mounts come again, and folders in it may be mounts of their own.
        start: None,
        file_system: super::root::file_system(folder, stat.dev)?,
        folder: words(keeping, stat, place.as_deref()),
        renumbered,
    })
}

/// What the file system says of the folder that stays; the surest first.
fn words(keeping: Keeping, stat: &Stat, place: Option<&str>) -> Option<String> {
    let place = place.map(|place| ContentHash::of(place.as_bytes()).to_string()[..16].to_owned());
    match (keeping, place) {
        (Keeping::Both, _) if stat.born == 0 => Some(format!("{:x}", stat.ino)),
        (Keeping::Both, _) => Some(format!("{:x} born-{:x}", stat.ino, stat.born)),
        (Keeping::Inode, Some(place)) => Some(format!("{:x} from-{place}", stat.ino)),
        (Keeping::Inode, None) => Some(format!("{:x}", stat.ino)),
        (Keeping::Place, Some(place)) => Some(format!("from-{place}")),
        (Keeping::Place, None) | (Keeping::Nothing, _) => None,
    }
}

/// What the folder's file system was mounted from: a server and a path, mostly. `None` where that is a device, whose name changes, or
/// not told.
fn mounted_from(folder: &Fd) -> Option<String> {
    let mount = folder.mount_id().ok()??;
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    source_of(&table, mount)
}

/// The fields are: the mount's id, its parent's, the device, the root in the file system, the mount point, options, any number of tags,
/// a dash, the type, the source.
fn source_of(table: &str, mount: u64) -> Option<String> {
    let mut lines = table.lines().map(|line| line.split(' '));
    let mut line = lines.find(|line| {
        let id = line.clone().next();
        id.and_then(|id| id.parse().ok()) == Some(mount)
    })?;
    let root = line.nth(3)?.to_owned();
    let mut line = line.skip_while(|field| *field != "-").skip(1);
    let (kind, source) = (line.next()?, line.next()?);
    (!source.starts_with("/dev/") && source != "none").then(|| format!("{kind} {source} {root}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:35 / /mnt/nas rw,relatime shared:2 master:3 - nfs4 nas:/export/photos rw,vers=4.2
41 22 0:36 /sub /mnt/ssh rw - fuse.sshfs me@host:/home rw
42 22 8:17 / /mnt/usb rw - fuseblk /dev/sdb1 rw
43 22 0:37 / /mnt/odd rw - fuse none rw
";

    #[test]
    fn where_a_mount_is_from_is_its_type_source_and_root() {
        let from = |mount| source_of(MOUNTS, mount);
        assert_eq!(from(40).as_deref(), Some("nfs4 nas:/export/photos /"));
        assert_eq!(from(41).as_deref(), Some("fuse.sshfs me@host:/home /sub"));
        for device_or_unknown in [22, 42, 43, 44, 4] {
            assert_eq!(from(device_or_unknown), None, "{device_or_unknown}");
        }
        assert_eq!(source_of("40\n\ngarbage - x\n", 40), None);
    }

    #[test]
    fn only_what_stays_is_told() {
        let now = wl_core::model::Timestamp { secs: 9, nanos: 0 };
        let stat = |born| Stat {
            ino: 0x1f,
            size: 0,
            mtime: now,
            ctime: now,
            mode: 0o040_755,
            dev: 7,
            born,
            mount: 1,
        };
        let told = |magic, born, place| words(Keeping::of(magic), &stat(born), place);
        assert_eq!(told(0xef53, 0xa, None).as_deref(), Some("1f born-a"));
        assert_eq!(told(0xef53, 0, None).as_deref(), Some("1f"));
        let nas = told(NFS, 0xa, Some("nas")).unwrap();
        assert!(nas.starts_with("1f from-"), "{nas}");
        assert_eq!(Some(&nas), told(NFS, 0, Some("nas")).as_ref());
        assert_ne!(Some(&nas), told(NFS, 0xa, Some("other")).as_ref());
        let ssh = told(0x6573_5546, 0xa, Some("me@host")).unwrap();
        assert!(ssh.starts_with("from-"), "{ssh}");
        assert_eq!(told(0x6573_5546, 0xa, None), None);
        let (fat, overlay) = (0x4d44, 0x794c_7630);
        assert_eq!(told(fat, 0xa, Some("x")), None);
        assert_eq!(told(overlay, 0xa, Some("x")), None);
    }
}
