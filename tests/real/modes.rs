//! Permissions: those that travel, and those that forbid.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::pair::Pair;
use crate::trees::{read, write};

fn set(path: &Path, bits: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

/// Everything may be opened again, so that the folders can be removed.
struct Opened<'a>(&'a Pair);

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("chmod")
            .args(["-R", "u+rwX"])
            .args([&self.0.a, &self.0.b])
            .status();
    }
}

#[test]
fn folders_that_nobody_may_write_to_are_made_and_finished() {
    let Some(pair) = Pair::of_nobody() else {
        return;
    };
    let _open = Opened(&pair);
    write(&pair.a, "closed/in/x", "x");
    write(&pair.a, "closed/y", "y");
    fs::create_dir_all(pair.a.join("closed/empty")).unwrap();
    for (path, bits) in [
        ("closed/y", 0o444),
        ("closed/in", 0o555),
        ("closed/empty", 0o500),
        ("closed", 0o555),
    ] {
        set(&pair.a.join(path), bits);
    }
    pair.give();
    pair.sync("").synced();
    pair.assert_equal();
    for path in ["closed", "closed/in", "closed/y", "closed/empty"] {
        assert_eq!(mode(&pair.b.join(path)), mode(&pair.a.join(path)), "{path}");
    }
    pair.sync("").synced();
}

/// What must be changed inside a folder that may not be written to is a problem, told; the rest goes on.
#[test]
fn a_change_inside_a_closed_folder_is_told_or_done() {
    let Some(pair) = Pair::of_nobody() else {
        return;
    };
    let _open = Opened(&pair);
    write(&pair.a, "closed/x", "x");
    write(&pair.a, "open/y", "y");
    pair.give();
    pair.sync("").synced();
    set(&pair.b.join("closed"), 0o555);
    write(&pair.a, "closed/x", "edited");
    write(&pair.a, "open/y", "edited too");
    let ran = pair.sync("");
    assert_eq!(
        fs::read(pair.b.join("open/y")).unwrap(),
        b"edited too",
        "{ran:?}"
    );
    let x = fs::read(pair.b.join("closed/x")).unwrap();
    match ran.code {
        0 => assert_eq!(x, b"edited"),
        _ => {
            assert_eq!((ran.code, x), (1, b"x".to_vec()), "{ran:?}");
            assert_eq!(ran.problems(), ["closed/x"]);
            assert!(ran.reasons().contains("permission"), "{ran:?}");
        }
    }
    for root in [&pair.a, &pair.b] {
        set(&root.join("closed"), 0o755);
    }
    pair.sync("").synced();
    pair.assert_equal();
}

#[test]
fn what_may_not_be_read_is_a_problem_and_stays_on_the_other_side() {
    let Some(pair) = Pair::of_nobody() else {
        return;
    };
    let _open = Opened(&pair);
    for path in ["file", "folder/x", "half/x", "fine"] {
        write(&pair.a, path, path);
    }
    pair.give();
    pair.sync("").synced();
    let shown = |path: &str| fs::read(pair.b.join(path)).unwrap();
    let kept = ["file", "folder/x", "fine"];
    let before = kept.map(shown);
    write(&pair.a, "file", "edited, but closed");
    for (path, bits) in [("file", 0), ("folder", 0), ("half", 0o400)] {
        set(&pair.a.join(path), bits);
    }
    write(&pair.a, "new", "new");
    pair.give();
    for options in ["", "--checksum", "--mirror --max-delete 100%"] {
        let ran = pair.sync(options);
        assert_eq!(ran.code, 1, "{options}: {ran:?}");
        for path in ["file", "folder"] {
            assert!(
                ran.problems()
                    .iter()
                    .any(|p| p.trim_end_matches('/') == path),
                "{ran:?}"
            );
        }
        assert!(
            ran.reasons().to_lowercase().contains("permission"),
            "{ran:?}"
        );
        assert_eq!(kept.map(shown), before, "{options}");
        assert_eq!(shown("new"), b"new");
        // Its closed mode travels, and only root can look into it then.
        assert!(pair.b.join("half").exists(), "{options}");
    }
    // The other side's removal does not reach what cannot be seen.
    fs::remove_dir_all(pair.b.join("folder")).unwrap();
    assert_eq!(pair.sync("--max-delete 100%").code, 1);
    for (path, bits) in [("file", 0o644), ("folder", 0o755), ("half", 0o755)] {
        set(&pair.a.join(path), bits);
    }
    assert_eq!(fs::read(pair.a.join("folder/x")).unwrap(), b"folder/x");
    // The closed mode of `half` had travelled; it is opened by this run, and looked into by the next.
    pair.sync("--max-delete 100%");
    pair.sync("--max-delete 100%").synced();
    pair.assert_equal();
    assert_eq!(
        fs::read(pair.b.join("file")).unwrap(),
        b"edited, but closed"
    );
}

#[test]
fn a_root_that_may_not_be_read_is_refused() {
    let Some(pair) = Pair::of_nobody() else {
        return;
    };
    let _open = Opened(&pair);
    write(&pair.a, "x", "x");
    pair.give();
    pair.sync("").synced();
    for bits in [0, 0o300, 0o400] {
        set(&pair.a, bits);
        let ran = pair.sync("--allow-empty --max-delete 100%");
        set(&pair.a, 0o755);
        assert!(ran.code == 1 || ran.class() == "usage", "{bits:o}: {ran:?}");
        assert!(ran.desc().contains(pair.a.to_str().unwrap()), "{ran:?}");
        assert_eq!(read(&pair.b).len(), 1, "{bits:o}: {ran:?}");
        assert_eq!(read(&pair.a).len(), 1, "{bits:o}: {ran:?}");
    }
    pair.sync("").synced();
}

#[test]
fn a_mode_travels_alone_and_with_content() {
    let pair = Pair::new();
    for path in ["only mode", "both", "each", "d/x"] {
        write(&pair.a, path, path);
        set(&pair.a.join(path), 0o644);
    }
    set(&pair.a.join("d"), 0o755);
    pair.sync("").synced();
    set(&pair.a.join("only mode"), 0o755);
    write(&pair.b, "both", "edited");
    set(&pair.b.join("both"), 0o600);
    // Content here, mode there: both are kept.
    write(&pair.a, "each", "edited here");
    set(&pair.b.join("each"), 0o640);
    set(&pair.b.join("d"), 0o711);
    let ran = pair.sync("");
    ran.synced();
    pair.assert_equal();
    for (path, bits) in [
        ("only mode", 0o755),
        ("both", 0o600),
        ("each", 0o640),
        ("d", 0o711),
    ] {
        for root in [&pair.a, &pair.b] {
            assert_eq!(mode(&root.join(path)), bits, "{path} in {}", root.display());
        }
    }
    assert_eq!(fs::read(pair.b.join("each")).unwrap(), b"edited here");
    assert_eq!(pair.sync("").report["bytes"]["written"], 0);
}

/// A link has no permissions: those of the file that takes its place come with it, or what was for its owner alone would be for all.
#[test]
fn a_file_in_place_of_a_link_keeps_its_permissions() {
    let pair = Pair::new();
    for (side, other, bits) in [(&pair.a, &pair.b, 0o600), (&pair.b, &pair.a, 0o755)] {
        std::os::unix::fs::symlink("somewhere", side.join("x")).unwrap();
        pair.sync("").synced();
        fs::remove_file(side.join("x")).unwrap();
        write(side, "x", "secret");
        set(&side.join("x"), bits);
        pair.sync("").synced();
        assert_eq!(mode(&other.join("x")), bits);
        assert_eq!(mode(&side.join("x")), bits);
        fs::remove_file(side.join("x")).unwrap();
        pair.sync("--max-delete 100% --allow-empty").synced();
    }
}

/// Nothing in it has changed, and nobody can say so any more.
#[test]
fn a_folder_that_cannot_be_looked_into_any_more_is_told_at_once() {
    for (side, bits) in [(0, 0), (1, 0), (0, 0o600), (1, 0o600)] {
        let Some(pair) = Pair::of_nobody() else {
            return;
        };
        let _open = Opened(&pair);
        write(&pair.a, "d/x", "x");
        pair.give();
        pair.sync("").synced();
        let words = [pair.a.to_str().unwrap(), pair.b.to_str().unwrap()];
        let words = ["sync", "--watch", "--output", "json"]
            .into_iter()
            .chain(words);
        let mut job = pair.command(words).spawn().unwrap();
        let mut lines = BufReader::new(job.stdout.take().unwrap()).lines();
        // The first line that says one of these.
        let mut first = |wanted: [&str; 2]| {
            let says = |line: &String| wanted.iter().any(|wanted| line.contains(wanted));
            let line = lines.find_map(|line| line.ok().filter(says));
            line.expect("it goes on")
        };
        let (synced, denied) = ("\"synced\"", "Permission denied");
        first([synced; 2]);
        let root = [&pair.a, &pair.b][side];
        set(&root.join("d"), bits);
        // What changes after it is carried over without a look at everything.
        write(root, "mark", "mark");
        let said = first([synced, denied]);
        assert!(said.contains(denied), "{bits:o} {said}");
        set(&root.join("d"), 0o755);
        first([synced; 2]);
        job.kill().unwrap();
        job.wait().unwrap();
    }
}
