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

/// A bind mount has the device of what is around it.
#[test]
fn a_folder_of_the_same_file_system_that_was_unmounted_is_not_a_removal() {
    let pair = Pair::new();
    let other = pair.at("other");
    for number in 0..30 {
        write(&other, &format!("d/{number}"), "y");
    }
    write(&pair.a, "x", "x");
    let bind = || Mount::bind(&other, &pair.a.join("sub"));
    let Some(mount) = bind() else {
        return;
    };
    pair.sync("").synced();
    let before = read(&pair.b);
    drop(mount);
    for gone in [false, true] {
        if gone {
            fs::remove_dir(pair.a.join("sub")).unwrap();
        }
        for options in ["", "--mirror --max-delete 100%", "--max-delete 100%"] {
            let ran = pair.sync(options);
            assert_eq!(ran.code, 1, "{ran:?}");
            assert!(ran.reasons().contains("mount"), "{ran:?}");
            assert_eq!(read(&pair.b), before, "{ran:?}");
        }
    }
    // Mounted again (with another number) it is what it was, and a removal in it is one.
    let mount = bind().unwrap();
    pair.sync("").synced();
    assert_eq!(read(&pair.b), before);
    fs::remove_file(other.join("d/7")).unwrap();
    pair.sync("").synced();
    assert!(!pair.b.join("sub/d/7").exists());
    // If it is meant to be so, what is missing was never removed.
    drop(mount);
    pair.sync("--accept-new-filesystem").synced();
    assert_eq!(fs::read_dir(pair.b.join("sub/d")).unwrap().count(), 29);
    pair.assert_equal();
}

/// A mirror would take its own source for something that the source lacks.
#[test]
fn roots_that_a_mount_shows_in_each_other_are_refused() {
    let pair = Pair::new();
    write(&pair.a, "in/x", "x");
    let Some(_mount) = Mount::bind(&pair.a, &pair.b) else {
        return;
    };
    let (inside, before) = (pair.at("a/in"), read(&pair.a));
    for (source, target) in [(&inside, &pair.b), (&pair.b, &inside), (&pair.a, &pair.b)] {
        for direction in [Some("--mirror"), Some("--unidirectional"), None] {
            let [source, target] = [source, target].map(|path| path.to_str().unwrap());
            let words = ["sync", source, target, "--output", "json"];
            let ran = pair.ran(words.into_iter().chain(direction));
            ran.refused("nested");
            assert_eq!(read(&pair.a), before, "{ran:?}");
        }
    }
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

/// Another folder with other content at the place of a root; returns where the right one is.
fn replace(pair: &Pair, root: &std::path::Path) -> std::path::PathBuf {
    let away = pair.at("away");
    fs::rename(root, &away).unwrap();
    fs::create_dir(root).unwrap();
    write(root, "other", "of another tree");
    write(root, "x", "another x");
    away
}

fn put_back(root: &std::path::Path, away: &std::path::Path) {
    fs::remove_dir_all(root).unwrap();
    fs::rename(away, root).unwrap();
}

#[test]
fn a_root_that_was_replaced_by_another_folder_is_refused_until_it_is_back() {
    for replaced in ["a", "b"] {
        let pair = synced();
        let before = pair.trees();
        let root = pair.at(replaced);
        let away = replace(&pair, &root);
        let now = pair.trees();
        for options in [
            "",
            "--allow-empty --max-delete 100%",
            "--unidirectional",
            "--mirror --max-delete 100%",
            "--dry-run",
        ] {
            let ran = pair.sync(options);
            ran.refused("root-changed");
            for said in [root.to_str().unwrap(), "--accept-new-filesystem", "back"] {
                assert!(ran.desc().contains(said), "{}", ran.desc());
            }
            assert_eq!(pair.trees(), now, "{options}");
            assert!(!root.join(".wl").exists(), "not even ours is made there");
        }
        put_back(&root, &away);
        pair.sync("").synced();
        assert_eq!(pair.trees(), before);
        // What is changed now is a change again.
        fs::remove_file(root.join("d/y")).unwrap();
        pair.sync("").synced();
        assert!(!pair.a.join("d/y").exists() && !pair.b.join("d/y").exists());
    }
}

#[test]
fn a_replaced_root_that_is_accepted_loses_nothing_on_either_side() {
    for replaced in ["a", "b"] {
        let pair = synced();
        let root = pair.at(replaced);
        replace(&pair, &root);
        let ran = pair.sync("--accept-new-filesystem");
        assert_eq!(
            (ran.code, ran.conflicts()),
            (3, vec!["x".to_owned()]),
            "{ran:?}"
        );
        for side in [&pair.a, &pair.b] {
            for name in ["other", "d/y", "d/e/z"] {
                assert!(side.join(name).exists(), "{name}");
            }
            let x = if *side == root { "another x" } else { "x" };
            assert_eq!(fs::read_to_string(side.join("x")).unwrap(), x);
        }
        let again = pair.sync("");
        assert_eq!(
            (again.code, again.conflicts()),
            (3, vec!["x".to_owned()]),
            "{again:?}"
        );
    }
}

/// `mv photos photos.old; mv other photos`, a restored backup, and a folder above that was exchanged.
#[test]
fn however_another_folder_came_to_the_place_of_a_root_it_is_refused() {
    let restored = |pair: &Pair| {
        let done = std::process::Command::new("cp")
            .arg("-a")
            .args([&pair.a, &pair.at("copy")])
            .status();
        assert!(done.unwrap().success());
        fs::remove_file(pair.at("copy/x")).unwrap();
        fs::remove_dir_all(&pair.a).unwrap();
        fs::rename(pair.at("copy"), &pair.a).unwrap();
    };
    let made_anew = |pair: &Pair| {
        fs::remove_dir_all(&pair.a).unwrap();
        fs::create_dir(&pair.a).unwrap();
        write(&pair.a, "first", "of a new tree");
    };
    for replaced in [&restored as &dyn Fn(&Pair), &made_anew] {
        let pair = synced();
        replaced(&pair);
        let before = pair.trees();
        pair.sync("--max-delete 100%").refused("root-changed");
        assert_eq!(pair.trees(), before);
        pair.sync("--accept-new-filesystem").synced();
        pair.assert_equal();
        for (name, content) in [("x", "x"), ("d/y", "d/y"), ("d/e/z", "d/e/z")] {
            assert_eq!(fs::read_to_string(pair.a.join(name)).unwrap(), content);
        }
    }
}

#[test]
fn a_root_that_is_renamed_away_and_back_or_moved_with_its_parent_is_the_same() {
    let pair = Pair::new();
    let run = |options: &str| {
        let words = ["sync", "parent/a", "b", "--output", "json"];
        pair.ran(words.into_iter().chain(options.split_whitespace()))
    };
    write(&pair.at("parent/a"), "x", "x");
    run("").synced();
    for moved in ["parent", "parent/a"] {
        fs::rename(pair.at(moved), pair.at("away")).unwrap();
        run("").refused("root-unavailable");
        fs::rename(pair.at("away"), pair.at(moved)).unwrap();
        run("").synced();
    }
    // Another parent, which has a folder of that name too.
    fs::rename(pair.at("parent"), pair.at("away")).unwrap();
    write(&pair.at("parent/a"), "other", "of another tree");
    run("--max-delete 100%").refused("root-changed");
    assert_eq!(read(&pair.b).len(), 1);
    fs::remove_dir_all(pair.at("parent")).unwrap();
    fs::rename(pair.at("away"), pair.at("parent")).unwrap();
    // Under its new name it is the storage of another pair, which begins with what is there.
    fs::rename(pair.at("parent"), pair.at("renamed")).unwrap();
    let ran = pair.ran(["sync", "renamed/a", "b", "--output", "json"]);
    ran.synced();
    assert_eq!(
        (
            ran.report["changes"]["target"]["removed"].as_u64(),
            read(&pair.b).len()
        ),
        (Some(0), 1)
    );
}

/// The folder behind the link is the storage: another one is another pair, and nothing of the first is taken for removed. It is no pair that
/// anybody asked for, until it is accepted.
#[test]
fn a_link_that_points_elsewhere_now_is_another_pair_that_has_to_be_accepted() {
    let pair = synced();
    std::os::unix::fs::symlink("a", pair.at("link")).unwrap();
    let run = |way: [&str; 2], options: &[&str]| {
        let words = ["sync", way[0], way[1], "--output", "json"];
        let always = ["--max-delete", "100%"];
        pair.ran(
            words
                .into_iter()
                .chain(always)
                .chain(options.iter().copied()),
        )
    };
    run(["link", "b"], &[]).synced();
    write(&pair.at("second"), "other", "of another tree");
    fs::remove_file(pair.at("link")).unwrap();
    std::os::unix::fs::symlink("second", pair.at("link")).unwrap();
    let first = read(&pair.a);
    // The two are the same, whichever is the source.
    for way in [["link", "b"], ["b", "./link/"]] {
        for options in [&[][..], &["--mirror"], &["--dry-run"]] {
            let ran = run(way, options);
            ran.refused("root-changed");
            for folder in [&pair.a, &pair.at("second")] {
                assert!(
                    ran.desc().contains(folder.to_str().unwrap()),
                    "{}",
                    ran.desc()
                );
            }
        }
        assert_eq!(
            (read(&pair.b), read(&pair.at("second")).len()),
            (first.clone(), 1)
        );
    }
    let watched = pair
        .command(["sync", "--watch", "link", "b"])
        .output()
        .unwrap();
    let said = String::from_utf8(watched.stderr).unwrap();
    assert!(said.contains("the source led to"), "{said}");
    let ran = run(["link", "b"], &["--accept-new-filesystem"]);
    ran.synced();
    assert_eq!(ran.report["changes"]["target"]["removed"], 0);
    assert_eq!(read(&pair.a), first);
    for name in ["x", "d/y", "d/e/z", "other"] {
        assert!(
            pair.b.join(name).exists() && pair.at("second").join(name).exists(),
            "{name}"
        );
    }
    run(["b", "link"], &[]).synced();
}

#[test]
fn a_root_that_was_made_anew_is_an_emptied_one_until_something_is_in_it() {
    for emptied in ["a", "b"] {
        let pair = synced();
        let before = pair.trees();
        let root = pair.at(emptied);
        fs::remove_dir_all(&root).unwrap();
        fs::create_dir(&root).unwrap();
        pair.sync("--max-delete 100%").refused("root-emptied");
        write(&root, "other", "of another tree");
        pair.sync("--allow-empty --max-delete 100%")
            .refused("root-changed");
        fs::remove_file(root.join("other")).unwrap();
        let other = if emptied == "a" {
            (&pair.b, before.1)
        } else {
            (&pair.a, before.0)
        };
        assert_eq!(read(other.0), other.1);
        pair.sync("--allow-empty").synced();
        assert!(read(&pair.a).is_empty() && read(&pair.b).is_empty());
        // From now on it is the root.
        write(&root, "new", "new");
        pair.sync("").synced();
        assert_eq!(pair.trees().0.len(), 1);
    }
}

/// What a wl without a word for the folder has written: it goes on, and knows the folder from then on.
#[test]
fn a_baseline_of_an_older_wl_stops_nobody_and_learns_the_folder() {
    let pair = synced();
    let state = fs::read_dir(pair.base.join("state")).unwrap();
    let mut files = state.map(|entry| entry.unwrap().path());
    let db = files.find(|path| path.extension().is_some_and(|end| end == "db"));
    let db = rusqlite::Connection::open(db.unwrap()).unwrap();
    let gone = db.execute("DELETE FROM meta WHERE name LIKE 'root folder %'", []);
    assert_eq!(gone.unwrap(), 2);
    drop(db);
    write(&pair.a, "new", "new");
    pair.sync("").synced();
    pair.assert_equal();
    replace(&pair, &pair.a);
    pair.sync("").refused("root-changed");
}

#[test]
fn what_is_missing_on_a_file_system_that_is_accepted_was_never_removed() {
    for mounted in ["a", "a/disk"] {
        let pair = Pair::new();
        write(&pair.a, "x", "x");
        let Some(mount) = Mount::new(&pair.at(mounted), "8m") else {
            return;
        };
        write(&pair.a, "y", "y");
        write(&pair.at(mounted), "d/z", "z");
        write(&pair.at(mounted), "w", "w");
        pair.sync("").synced();
        let before = read(&pair.b);
        drop(mount);
        let ran = pair.sync("--accept-new-filesystem --max-delete 100%");
        ran.synced();
        assert_eq!(ran.report["changes"]["target"]["removed"], 0, "{ran:?}");
        let after = read(&pair.b);
        assert!(
            before
                .iter()
                .all(|(name, node)| after.get(name) == Some(node)),
            "{after:?}"
        );
        pair.assert_equal();
        pair.sync("").synced();
        fs::remove_file(pair.at(mounted).join("d/z")).unwrap();
        pair.sync("").synced();
        pair.assert_equal();
        assert!(!pair.at(mounted).join("d/z").exists());
    }
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
