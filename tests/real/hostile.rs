//! Names and entries that nobody expects.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;

use rustix::fs::{Mode, OFlags, mkdirat, openat};

use crate::histories::LONG;
use crate::pair::Pair;
use crate::trees::write;

const ODD: [&str; 18] = [
    "new\nline",
    "-rf",
    "--help",
    " space ",
    "tab\t",
    "e\u{301}",
    "\u{e9}",
    "A",
    "a",
    ".wlx",
    ".wl2/x",
    "sub/.wl",
    "sub/deep/.wl/x",
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "\u{202e}txt.exe",
    "*?[x]",
    "back\\slash",
    "$(touch owned)`x`'\"",
];

fn odd_names(pair: &Pair) {
    for (number, name) in ODD.iter().enumerate() {
        write(&pair.a, name, format!("content {number}"));
    }
    write(&pair.a, LONG, "a long name");
    write(
        &pair.a,
        &format!("{}/{LONG}", LONG.replace("long", "dir-")),
        "a long name in another",
    );
}

#[test]
fn odd_names_travel_change_and_go() {
    let pair = Pair::new();
    odd_names(&pair);
    pair.sync("").synced();
    pair.assert_equal();
    for name in ODD {
        write(&pair.b, name, format!("{name:?} changed"));
    }
    fs::rename(pair.b.join(LONG), pair.b.join(LONG.replace("long", "gone"))).unwrap();
    pair.sync("").synced();
    pair.assert_equal();
    for name in ODD {
        fs::remove_file(pair.a.join(name)).unwrap();
    }
    pair.sync("--max-delete 100%").synced();
    pair.assert_equal();
    assert_eq!(pair.trees().1.len(), 4, "{:?}", pair.trees().1);
}

/// People see names of conflicts, problems and the trash: none may speak to their terminal.
#[test]
fn no_name_speaks_to_the_terminal() {
    let pair = Pair::new();
    odd_names(&pair);
    pair.sync("").synced();
    for name in ODD {
        write(&pair.a, name, "here");
        write(&pair.b, name, "there, different");
    }
    let not_text = OsStr::from_bytes(b"\xff\x1b[2J");
    fs::write(pair.a.join(not_text), "x").unwrap();
    let (a, b) = (pair.a.to_str().unwrap(), pair.b.to_str().unwrap());
    pair.sync("");
    pair.sync("--mirror --max-delete 100%");
    for words in [
        vec!["sync", b, a],
        vec!["conflicts", a, b, "--force-scan"],
        vec!["trash", "list", b],
        vec!["sync", "no\u{1b}[2Jsuch", b],
        vec!["trash", "restore", b, "no\u{1b}[2Jsuch"],
        vec!["resolve", a, b, "no\u{1b}[2Jsuch", "--keep", "source"],
    ] {
        let out = pair.command(&words).output().unwrap();
        for text in [out.stdout, out.stderr] {
            let raw = text
                .iter()
                .find(|byte| **byte < 0x20 && !b"\n\t".contains(byte));
            assert_eq!(raw, None, "{words:?}: {:?}", String::from_utf8_lossy(&text));
        }
    }
}

/// Makes `levels` folders in each other, named by `name`; no path is as long as the way down. The innermost.
fn deep(root: &std::path::Path, levels: usize, name: &str) -> OwnedFd {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY;
    let mut folder: OwnedFd = fs::File::open(root).unwrap().into();
    for _ in 0..levels {
        let _ = mkdirat(&folder, name, Mode::RWXU);
        folder = openat(folder.as_fd(), name, flags, Mode::empty()).unwrap();
    }
    folder
}

fn put(folder: &OwnedFd, content: &[u8]) {
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY;
    let file = openat(folder, "file", flags, Mode::RUSR | Mode::WUSR).unwrap();
    std::io::Write::write_all(&mut fs::File::from(file), content).unwrap();
}

fn get(folder: &OwnedFd) -> Option<Vec<u8>> {
    let file = openat(folder, "file", OFlags::RDONLY, Mode::empty()).ok()?;
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut fs::File::from(file), &mut content).unwrap();
    Some(content)
}

/// 300 levels of 40 bytes: 12,000 bytes, three times what a path may have.
#[test]
fn paths_longer_than_a_path_may_be_travel_both_ways() {
    const NAME: &str = "a folder whose name has just forty bytes";
    let pair = Pair::new();
    put(&deep(&pair.a, 300, NAME), b"deep");
    pair.sync("").synced();
    let there = deep(&pair.b, 300, NAME);
    assert_eq!(get(&there).unwrap(), b"deep");
    put(&there, b"edited down there");
    pair.sync("").synced();
    let here = deep(&pair.a, 300, NAME);
    assert_eq!(get(&here).unwrap(), b"edited down there");
    rustix::fs::unlinkat(&here, "file", rustix::fs::AtFlags::empty()).unwrap();
    pair.sync("--max-delete 100%").synced();
    assert_eq!(get(&there), None);
}

#[test]
fn names_that_are_no_text_are_problems_and_hold_their_folder() {
    let pair = Pair::new();
    for name in ["odd/a", "odd/b", "fine/c"] {
        write(&pair.a, name, name);
    }
    pair.sync("").synced();
    let not_text = OsStr::from_bytes(b"not \xff text");
    fs::write(pair.a.join("odd").join(not_text), "precious").unwrap();
    fs::create_dir(pair.a.join(OsStr::from_bytes(b"\xfe"))).unwrap();
    fs::write(pair.a.join(OsStr::from_bytes(b"\xfe/x")), "also").unwrap();
    write(&pair.a, "fine/d", "new");
    let ran = pair.sync("");
    assert_eq!((ran.code, ran.problems().len()), (1, 2), "{ran:?}");
    assert_eq!(fs::read(pair.b.join("fine/d")).unwrap(), b"new");
    // The other side's removal stops at what cannot be told.
    fs::remove_dir_all(pair.b.join("odd")).unwrap();
    let ran = pair.sync("--max-delete 100%");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(
        fs::read(pair.a.join("odd").join(not_text)).unwrap(),
        b"precious"
    );
    assert_eq!(
        fs::read(pair.a.join(OsStr::from_bytes(b"\xfe/x"))).unwrap(),
        b"also"
    );
    fs::remove_file(pair.a.join("odd").join(not_text)).unwrap();
    fs::remove_dir_all(pair.a.join(OsStr::from_bytes(b"\xfe"))).unwrap();
    pair.sync("--max-delete 100%").synced();
    pair.assert_equal();
}

#[test]
fn a_file_of_the_users_in_the_place_of_our_folder_is_told() {
    for side in ["a", "b"] {
        let pair = Pair::new();
        write(&pair.a, "x", "x");
        fs::write(pair.at(side).join(".wl"), "the user's").unwrap();
        let ran = pair.sync("");
        assert_eq!((ran.code, ran.class()), (1, "storage"), "{ran:?}");
        assert!(ran.desc().contains("move `.wl` away"), "{}", ran.desc());
        assert_eq!(fs::read(pair.at(side).join(".wl")).unwrap(), b"the user's");
        fs::remove_file(pair.at(side).join(".wl")).unwrap();
        pair.sync("").synced();
        pair.assert_equal();
    }
}

/// Our folder as a link would have us write to wherever it leads.
#[test]
fn a_link_in_the_place_of_our_folder_is_not_followed() {
    let pair = Pair::new();
    write(&pair.a, "x", "x");
    fs::create_dir(pair.at("elsewhere")).unwrap();
    std::os::unix::fs::symlink(pair.at("elsewhere"), pair.b.join(".wl")).unwrap();
    let ran = pair.sync("");
    assert_ne!(ran.code, 0, "{ran:?}");
    assert_eq!(fs::read_dir(pair.at("elsewhere")).unwrap().count(), 0);
}

#[test]
fn special_files_are_counted_and_hold_their_folder() {
    let pair = Pair::new();
    write(&pair.a, "d/x", "x");
    write(&pair.a, "y", "y");
    pair.sync("").synced();
    let fifo = pair.a.join("d/fifo");
    let made = rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        Mode::RUSR,
        0,
    );
    made.unwrap();
    let _socket = UnixListener::bind(pair.a.join("socket")).unwrap();
    let ran = pair.sync("");
    ran.synced();
    assert_eq!(ran.report["skipped"], 2);
    assert!(!pair.b.join("socket").exists());
    fs::remove_dir_all(pair.b.join("d")).unwrap();
    pair.sync("--max-delete 100%");
    assert!(!pair.a.join("d/x").exists());
    assert!(fifo.symlink_metadata().is_ok(), "its folder stays");
}

/// A special file at a path where the other side has a file is not overwritten.
#[test]
fn a_special_file_in_the_place_of_a_file_stays() {
    let pair = Pair::new();
    write(&pair.a, "x", "content");
    let _socket = UnixListener::bind(pair.b.join("x")).unwrap();
    let ran = pair.sync("");
    assert_eq!(ran.report["skipped"], 1, "{ran:?}");
    assert_eq!(fs::read(pair.a.join("x")).unwrap(), b"content");
    let meta = pair.b.join("x").symlink_metadata().unwrap();
    assert!(!meta.is_file(), "{meta:?}");
    assert!(!pair.b.join("x").symlink_metadata().unwrap().is_dir());
}

#[test]
fn links_travel_as_links() {
    let pair = Pair::new();
    write(&pair.at("outside"), "secret", "not ours");
    write(&pair.a, "d/x", "x");
    for (target, name) in [
        ("loop", "loop"),
        ("two", "one"),
        ("one", "two"),
        (".", "d/here"),
        ("../outside", "out"),
        ("/nowhere/at all", "dangling"),
    ] {
        std::os::unix::fs::symlink(target, pair.a.join(name)).unwrap();
    }
    pair.sync("").synced();
    pair.assert_equal();
    assert_eq!(
        fs::read_link(pair.b.join("out")).unwrap().to_str(),
        Some("../outside")
    );
    // A link in a folder's place on one side, an edit through that folder on the other: nothing is written outside.
    fs::remove_dir_all(pair.b.join("d")).unwrap();
    std::os::unix::fs::symlink("../outside", pair.b.join("d")).unwrap();
    write(&pair.a, "d/x", "edited");
    let ran = pair.sync("--max-delete 100%");
    assert_eq!(
        (ran.code, ran.conflicts()),
        (3, vec!["d".to_owned()]),
        "{ran:?}"
    );
    assert_eq!(fs::read_dir(pair.at("outside")).unwrap().count(), 1);
    assert_eq!(fs::read(pair.a.join("d/x")).unwrap(), b"edited");
}

/// A file that cannot reach the other side, because something special is at its path there, is not *synced*: it is told.
#[test]
fn a_file_that_something_special_keeps_out_is_told() {
    let pair = Pair::new();
    write(&pair.a, "x", "content");
    let _socket = UnixListener::bind(pair.b.join("x")).unwrap();
    let ran = pair.sync("");
    assert_eq!((ran.code, ran.problems()), (1, vec!["x".to_owned()]));
}
