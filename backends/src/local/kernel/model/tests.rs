//! What the model promises, and that it takes everything else.

use std::collections::BTreeSet;

use rustix::fs::{Mode as Bits, OFlags, RenameFlags};
use rustix::io::Errno;

use super::*;

fn disk(rules: Rules) -> Disk {
    let disk = Machine::default().disk("disk", rules);
    disk.set_block(4);
    disk
}

fn create(folder: &Open, name: &str) -> Open {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
    folder.open_at(name, flags, Bits::RUSR).unwrap()
}

fn put(folder: &Open, name: &str, content: &[u8]) -> Open {
    let file = create(folder, name);
    assert_eq!(file.write(content), Ok(content.len()));
    file
}

fn rename(folder: &Open, from: &str, to: &str) {
    folder
        .rename_at(from, folder, to, RenameFlags::empty())
        .unwrap();
}

/// All that many power cuts leave of the same work, as text.
fn outcomes(rules: Rules, work: impl Fn(&Open)) -> BTreeSet<String> {
    let left = |seed| {
        let disk = disk(rules);
        let root = disk.open_root().unwrap();
        work(&root);
        disk.machine().restart(Loss::Power(Dice::new(seed)));
        let tree = disk.user().tree().into_iter();
        let nodes = tree.map(|(path, node)| match node {
            Node::File(content) => format!("{path}={}", String::from_utf8(content).unwrap()),
            other => format!("{path} {other:?}"),
        });
        nodes.collect::<Vec<_>>().join(" ").replace('\0', "0")
    };
    let all: BTreeSet<String> = (0..300).map(left).collect();
    assert_eq!(
        all,
        (0..300).map(left).collect(),
        "the same dice, the same loss"
    );
    all
}

fn texts<const N: usize>(all: [&str; N]) -> BTreeSet<String> {
    all.map(str::to_owned).into()
}

#[test]
fn what_was_synced_stays() {
    for rules in [Rules::Journal, Rules::Loose] {
        let left = outcomes(rules, |root| {
            put(root, "f", b"content").sync().unwrap();
            root.sync().unwrap();
        });
        assert_eq!(left, texts(["f=content"]));
        let left = outcomes(rules, |root| {
            put(root, "f", b"content");
            root.sync_all().unwrap();
        });
        assert_eq!(left, texts(["f=content"]));
    }
}

#[test]
fn what_was_not_synced_is_lost_in_every_way() {
    let left = outcomes(Rules::Loose, |root| {
        put(root, "f", b"content");
    });
    // No name; no content; all; the size without some of the content.
    for way in ["", "f=", "f=content", "f=0000000", "f=cont000", "f=0000ent"] {
        assert!(left.contains(way), "{way}: {left:?}");
    }
    let over = outcomes(Rules::Loose, |root| {
        let file = put(root, "f", b"old-old-");
        file.sync().unwrap();
        root.sync().unwrap();
        file.write_at(b"new-new-", 0).unwrap();
    });
    assert_eq!(
        over,
        texts(["f=new-new-", "f=new-old-", "f=old-new-", "f=old-old-"])
    );
}

#[test]
fn a_rename_can_outlive_its_content() {
    let work = |sync: bool| {
        move |root: &Open| {
            put(root, "f", b"old").sync().unwrap();
            root.sync().unwrap();
            let new = put(root, "n", b"new");
            if sync {
                new.sync().unwrap();
            }
            rename(root, "n", "f");
        }
    };
    for rules in [Rules::Journal, Rules::Loose] {
        let left = outcomes(rules, work(false));
        assert!(left.contains("f=") && left.contains("f=old"), "{left:?}");
        let left = outcomes(rules, work(true));
        assert!(left.contains("f=new"), "{left:?}");
        assert!(
            left.iter()
                .all(|left| !left.contains("f= ") && left != "f=")
        );
    }
}

#[test]
fn an_exchange_is_done_or_not() {
    for rules in [Rules::Journal, Rules::Loose] {
        let left = outcomes(rules, |root| {
            put(root, "a", b"1").sync().unwrap();
            put(root, "b", b"2").sync().unwrap();
            root.sync().unwrap();
            root.rename_at("a", root, "b", RenameFlags::EXCHANGE)
                .unwrap();
        });
        assert_eq!(left, texts(["a=1 b=2", "a=2 b=1"]));
    }
}

#[test]
fn names_are_lost_from_the_end_or_one_by_one() {
    let work = |root: &Open| {
        for name in ["a", "b", "c"] {
            put(root, name, b"").sync_data().unwrap();
        }
    };
    let in_order = texts(["", "a=", "a= b=", "a= b= c="]);
    assert_eq!(outcomes(Rules::Journal, work), in_order);
    assert_eq!(outcomes(Rules::Loose, work).len(), 8, "any part of three");
    let synced = |root: &Open| {
        create(root, "a");
        create(root, "b").sync().unwrap();
    };
    assert_eq!(outcomes(Rules::Journal, synced), texts(["a= b="]));
    assert_eq!(outcomes(Rules::Loose, synced).len(), 4);
}

#[test]
fn no_file_is_without_any_name_that_had_one_all_along() {
    let left = outcomes(Rules::Loose, |root| {
        put(root, "f", b"1").sync().unwrap();
        root.sync().unwrap();
        root.make_dir_at("d", Bits::RWXU).unwrap();
        let folder = root.open_at("d", OFlags::DIRECTORY, Bits::empty()).unwrap();
        root.link_at("f", &folder, "g").unwrap();
        root.unlink_at("f").unwrap();
        folder
            .rename_at("g", root, "h", RenameFlags::empty())
            .unwrap();
        root.remove_dir_at("d").unwrap();
    });
    assert!(left.iter().all(|left| left.contains("=1")), "{left:?}");
    assert!(
        left.contains("h=1") && left.contains("d Folder f=1"),
        "{left:?}"
    );
}

#[test]
fn a_handle_outlives_its_name_but_no_crash() {
    let disk = disk(Rules::Loose);
    let root = disk.open_root().unwrap();
    let file = put(&root, "f", b"1");
    rename(&root, "f", "g");
    root.unlink_at("g").unwrap();
    assert_eq!(file.write(b"2"), Ok(1));
    assert_eq!(file.stat().unwrap().size, 2);
    assert_eq!(disk.user().tree().len(), 0);
    disk.machine().restart(Loss::Process);
    assert_eq!(file.stat(), Err(Errno::IO));
    assert_eq!(root.stat(), Err(Errno::IO));
    assert!(disk.open_root().is_ok());
}

#[test]
fn a_process_that_dies_loses_locks_and_nothing_else() {
    let disk = disk(Rules::Loose);
    let root = disk.open_root().unwrap();
    let (one, other) = (create(&root, "lock"), disk.open_root().unwrap());
    let two = other.open_at("lock", OFlags::RDWR, Bits::empty()).unwrap();
    assert_eq!(one.lock(false), Ok(()));
    assert_eq!(two.lock(false), Err(Errno::WOULDBLOCK));
    drop(one);
    assert_eq!(two.lock(false), Ok(()));
    put(&root, "f", b"1");
    disk.machine().restart(Loss::Process);
    let root = disk.open_root().unwrap();
    let three = root.open_at("lock", OFlags::RDWR, Bits::empty()).unwrap();
    assert_eq!(three.lock(false), Ok(()));
    assert_eq!(disk.user().read("f").as_deref(), Some(&b"1"[..]));
}

#[test]
fn a_sync_that_failed_is_not_made_up_for() {
    let left = outcomes(Rules::Journal, |root| {
        let file = put(root, "f", b"1");
        let machine = root.disk().machine();
        machine.fail_at(machine.calls() + 1, When::Before, Errno::IO);
        assert_eq!(file.sync(), Err(Errno::IO));
        assert_eq!(file.sync(), Ok(()));
        assert_eq!(machine.fired(), 1);
    });
    assert!(left.contains("f=") && left.contains("f=1"), "{left:?}");
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = disk(Rules::Loose);
    disk.set_capacity(Some(3));
    let root = disk.open_root().unwrap();
    let file = create(&root, "f");
    assert_eq!(file.write(b"12345"), Ok(3));
    assert_eq!(file.write(b"45"), Err(Errno::NOSPC));
    assert_eq!(file.write_at(b"x", 0), Ok(1), "nothing more is needed");
    assert_eq!(disk.user().write("g", b"1"), Err(Errno::NOSPC));
    root.unlink_at("f").unwrap();
    drop(file);
    assert_eq!(disk.user().write("g", b"1"), Ok(()));
}

#[test]
fn a_number_is_given_again_when_nothing_needs_it() {
    let disk = disk(Rules::Loose);
    let root = disk.open_root().unwrap();
    let number = put(&root, "f", b"1").stat().unwrap().ino;
    root.unlink_at("f").unwrap();
    let next = |name| create(&root, name).stat().unwrap().ino;
    assert_ne!(next("g"), number, "the crash may bring it back");
    root.sync_all().unwrap();
    assert_eq!(next("h"), number);
}

#[test]
fn a_crash_stops_everything_at_that_call() {
    for (when, made) in [(When::Before, 0), (When::After, 1)] {
        let disk = disk(Rules::Loose);
        let root = disk.open_root().unwrap();
        disk.machine().crash_at(disk.machine().calls() + 1, when);
        assert_eq!(root.make_dir_at("d", Bits::RWXU), Err(Errno::IO));
        assert_eq!(root.make_dir_at("e", Bits::RWXU), Err(Errno::IO));
        assert!(disk.machine().is_off() && disk.open_root().is_err());
        disk.machine().restart(Loss::Process);
        assert_eq!(disk.user().tree().len(), made);
    }
}
