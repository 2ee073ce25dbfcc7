//! Roots that go away, come back as something else, or lie in each other: *unknown*, never *deleted*.

use std::fs;
use std::io::Read;

use crate::pair::{Pair, ended};
use crate::skip::Mount;
use crate::trees::{read, write};

fn synced() -> Pair {
    let pair = Pair::new();
    for name in ["x", "d/y", "d/e/z"] {
        write(&pair.a, name, name);
    }
    pair.sync("").synced();
    pair
}

#[test]
fn a_root_that_is_gone_is_refused_and_the_other_stays() {
    let pair = synced();
    let before = read(&pair.b);
    for side in [&pair.a, &pair.b] {
        let (there, away) = (pair.trees(), pair.at("away"));
        fs::rename(side, &away).unwrap();
        let ran = pair.sync("");
        if side == &pair.a {
            ran.refused("root-unavailable");
            assert!(
                ran.desc().contains(side.to_str().unwrap()),
                "{}",
                ran.desc()
            );
        } else {
            // A target may be made; it is then an emptied root.
            assert_eq!(ran.code, 1, "{ran:?}");
        }
        assert_eq!(read(&away), before);
        let other = if side == &pair.a { &pair.b } else { &pair.a };
        assert_eq!(read(other), there.0);
        if side.exists() {
            fs::remove_dir_all(side).unwrap();
        }
        fs::rename(&away, side).unwrap();
        pair.sync("").synced();
    }
}

#[test]
fn an_unmounted_root_is_refused_with_its_name() {
    for mounted in ["a", "b"] {
        let pair = Pair::new();
        let Some(mount) = Mount::new(&pair.at(mounted), "8m") else {
            return;
        };
        write(&pair.a, "x", "x");
        write(&pair.a, "d/y", "y");
        pair.sync("").synced();
        drop(mount);
        let other = if mounted == "a" { &pair.b } else { &pair.a };
        for options in ["", "--mirror", "--allow-empty --max-delete 100%"] {
            let ran = pair.sync(options);
            ran.refused("root-changed");
            assert!(ran.desc().contains(pair.at(mounted).to_str().unwrap()));
            assert_eq!(read(other).len(), 2);
            assert_eq!(fs::read_dir(pair.at(mounted)).unwrap().count(), 0);
        }
    }
}

#[test]
fn a_folder_of_the_tree_that_was_unmounted_is_not_a_removal() {
    let pair = Pair::new();
    write(&pair.a, "x", "x");
    let Some(mount) = Mount::new(&pair.a.join("disk"), "8m") else {
        return;
    };
    write(&pair.a, "disk/y", "y");
    write(&pair.a, "disk/d/z", "z");
    pair.sync("");
    let before = read(&pair.b);
    drop(mount);
    let ran = pair.sync("--max-delete 100%");
    assert_eq!(read(&pair.b), before, "{ran:?}");
    assert_eq!(ran.code, 1, "{ran:?}");
}

#[test]
fn an_emptied_root_is_refused_unless_it_is_meant() {
    let pair = synced();
    for name in ["x", "d/y", "d/e/z"] {
        fs::remove_file(pair.b.join(name)).unwrap();
    }
    fs::remove_dir_all(pair.b.join("d")).unwrap();
    for options in [
        "",
        "--max-delete 100%",
        "--unidirectional --max-delete 100%",
    ] {
        let ran = pair.sync(options);
        if options.starts_with("--uni") {
            // The target is never the authority of a one-way run.
            assert_eq!(read(&pair.a).len(), 2, "{ran:?}");
            continue;
        }
        ran.refused("root-emptied");
        assert!(ran.desc().contains(pair.b.to_str().unwrap()));
        assert_eq!(read(&pair.a).len(), 2);
    }
    pair.sync("--allow-empty --max-delete 100%").synced();
    assert!(read(&pair.a).is_empty() && read(&pair.b).is_empty());
}

#[test]
fn roots_in_each_other_are_refused_however_they_are_named() {
    let pair = synced();
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(pair.at(target), pair.at(name)).unwrap();
    };
    link("a", "same");
    link("a/d", "inside");
    for other in [
        "a",
        "a/",
        "./a/../a",
        "same",
        "inside",
        "a/d",
        "a/new",
        "same/d/new",
    ] {
        for words in [["a", other], [other, "a"]] {
            let ran = pair.ran(["sync", words[0], words[1], "--output", "json"]);
            // A source is never made.
            let class = match words[0].ends_with("new") {
                true => "root-unavailable",
                false => "nested",
            };
            assert_eq!((ran.code, ran.class()), (1, class), "{words:?}: {ran:?}");
        }
    }
    assert!(!pair.a.join("new").exists() && !pair.a.join("d/new").exists());
}

#[test]
fn a_root_that_is_a_link_is_the_folder_behind_it() {
    let pair = synced();
    std::os::unix::fs::symlink("b", pair.at("link")).unwrap();
    write(&pair.at("link"), "new", "through the link");
    fs::remove_file(pair.b.join("x")).unwrap();
    let ran = pair.ran(["sync", "a", "link", "--output", "json"]);
    ran.synced();
    pair.assert_equal();
    assert!(
        !pair.a.join("x").exists(),
        "the pair is the same: a removal"
    );
    assert!(pair.at("link").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn two_runs_on_one_pair_are_one_too_many() {
    let pair = synced();
    let state = fs::read_dir(pair.base.join("state")).unwrap();
    let mut locks = state.map(|entry| entry.unwrap().path());
    let lock = locks.find(|path| path.extension().is_some_and(|e| e == "lock"));
    let held = fs::File::open(lock.unwrap()).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    write(&pair.a, "new", "new");
    pair.sync("").refused("locked");
    let turned = pair.ran(["sync", "b", "a", "--output", "json"]);
    assert_eq!((turned.code, turned.class()), (1, "locked"), "{turned:?}");
    assert!(!pair.b.join("new").exists());
    drop(held);
    pair.sync("").synced();
}

/// Runs that start together: each is refused or does its work; the sides are equal in the end.
#[test]
fn runs_that_start_together_do_no_harm() {
    let pair = Pair::new();
    for file in 0..800 {
        write(
            &pair.a,
            &format!("d{}/f{file}", file % 20),
            format!("content {file}"),
        );
    }
    let other_base = pair.at("other base");
    for round in 0..4 {
        let mut children: Vec<_> = (0..3).map(|_| pair.start("")).collect();
        // One that shares no state with the others: only the folders' own locks and checks are between them.
        let mut words = vec!["sync", "a", "b", "--output", "json", "-b"];
        words.push(other_base.to_str().unwrap());
        let mut stranger = std::process::Command::new(env!("CARGO_BIN_EXE_wl"));
        stranger.args(&words).current_dir(pair.at(""));
        stranger.stdout(std::process::Stdio::piped());
        stranger.stderr(std::process::Stdio::piped());
        children.push(stranger.spawn().unwrap());
        for (number, child) in children.into_iter().enumerate() {
            let ran = ended(child.wait_with_output().unwrap());
            let fine = ran.code == 0
                || ran.class() == "locked"
                || number == 3
                || !ran.problems().is_empty();
            assert!(fine, "{ran:?}");
            assert!(ran.conflicts().is_empty(), "{ran:?}");
        }
        pair.sync("").synced();
        pair.assert_equal();
        assert!(crate::trees::is_tidy(&pair.b));
        for file in 0..800 {
            let path = pair.b.join(format!("d{}/f{file}", file % 20));
            let mut content = String::new();
            fs::File::open(path)
                .unwrap()
                .read_to_string(&mut content)
                .unwrap();
            assert!(content.starts_with(&format!("content {file}")));
        }
        let file = round * 7;
        write(
            &pair.b,
            &format!("d{}/f{file}", file % 20),
            format!("content {file} again"),
        );
    }
}
