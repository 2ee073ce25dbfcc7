//! Large files in little memory.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Child;

use crate::kill::Random;
use crate::pair::{Pair, Ran, ended};

const MIB: u64 = 1 << 20;
const MOST_MEMORY: u64 = 64 * MIB;

/// The most memory that the process has had so far.
fn peak(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    Some(kib << 10)
}

/// A run, with the most memory it was seen to have: looked at a few hundred times a second.
fn measured(pair: &Pair) -> (Ran, u64) {
    let mut child = pair.start("");
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(peak(&child).unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    (ended(child.wait_with_output().unwrap()), most)
}

fn room(at: &Path) -> u64 {
    let stat = rustix::fs::statvfs(at).unwrap();
    stat.f_bavail * stat.f_frsize
}

fn equal(one: &Path, two: &Path) -> bool {
    let mut files = [File::open(one).unwrap(), File::open(two).unwrap()];
    let mut pieces = [vec![0; MIB as usize], vec![0; MIB as usize]];
    loop {
        let n = files[0].read(&mut pieces[0]).unwrap();
        if n == 0 {
            return files[1].read(&mut pieces[1]).unwrap() == 0;
        }
        if files[1].read_exact(&mut pieces[1][..n]).is_err() || pieces[0][..n] != pieces[1][..n] {
            return false;
        }
    }
}

#[test]
fn a_large_file_and_a_sparse_one_need_little_memory() {
    let pair = Pair::new();
    if room(&pair.a) < 1500 * MIB {
        return crate::skip::skipped("no room for large files");
    }
    let mut random = Random::new(11);
    let mut file = File::create(pair.a.join("large")).unwrap();
    for _ in 0..300 {
        let piece: Vec<u8> = (0..MIB / 8)
            .flat_map(|_| random.below(u64::MAX >> 11).to_le_bytes())
            .collect();
        file.write_all(&piece).unwrap();
    }
    drop(file);
    let sparse = File::create(pair.a.join("sparse")).unwrap();
    sparse.set_len(2048 * MIB).unwrap();
    sparse
        .write_all_at(b"in the middle of nothing", 1000 * MIB + 77)
        .unwrap();
    drop(sparse);
    let (ran, most) = measured(&pair);
    ran.synced();
    eprintln!("at most {} KiB in {} s", most >> 10, ran.report["seconds"]);
    assert!(most > 0 && most < MOST_MEMORY, "{most} bytes of memory");
    assert!(equal(&pair.a.join("large"), &pair.b.join("large")));
    let copy = fs::metadata(pair.b.join("sparse")).unwrap();
    assert_eq!(copy.len(), 2048 * MIB);
    assert!(copy.blocks() * 512 < 8 * MIB, "{} blocks", copy.blocks());
    let mut found = [0; 24];
    let file = File::open(pair.b.join("sparse")).unwrap();
    file.read_exact_at(&mut found, 1000 * MIB + 77).unwrap();
    assert_eq!(&found, b"in the middle of nothing");
}
