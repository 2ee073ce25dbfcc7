//! What a killed session leaves behind on a full storage. Each state is built by hand on the model, then each step of what takes care of it is
//! killed, or told that there is no room.

use std::collections::BTreeSet;

use rustix::io::Errno;
use serde_json::json;
use wl_core::model::ContentHash;
use wl_core::storage::{
    ErrorKind, Expected, Result, SessionOptions, StorageBackend, StrandedVersion, TrashKeep,
    TrashState,
};

use super::kit::{WEAK, options, p, run_name, take};
use crate::local::LocalBackend;
use crate::local::model::{Dice, Disk, Loss, Machine, Node, Op, Rules, When};
use crate::local::sys::Renames;

const OLD: &[u8] = b"the agreed version";
const NEW: &[u8] = b"our new version";
const THEIRS: &[u8] = b"somebody's version";
const LARGE: &[u8] = &[b'x'; 4000];

/// What lies in a dead session's folder, and what of it nobody may lose.
struct Dead {
    name: &'static str,
    files: &'static [(&'static str, &'static [u8])],
    /// Number, operation, path.
    intents: &'static [(u64, &'static str, &'static str)],
    kept: &'static [&'static [u8]],
}

const STATES: [Dead; 9] = [
    Dead {
        name: "after the exchange",
        files: &[("f", NEW), (".wl/stage/dead/3.swap", OLD)],
        intents: &[(3, "replace", "f")],
        kept: &[OLD, NEW],
    },
    Dead {
        name: "after taking a version away",
        files: &[(".wl/stage/dead/3.swap", OLD)],
        intents: &[(3, "remove", "f")],
        kept: &[OLD],
    },
    Dead {
        name: "with a racing version in hand",
        files: &[("f", NEW), (".wl/stage/dead/3.swap", THEIRS)],
        intents: &[(3, "replace", "f")],
        kept: &[THEIRS],
    },
    Dead {
        name: "with a racing version in hand, and another at the path",
        files: &[("f", b"newer"), (".wl/stage/dead/3.swap", THEIRS)],
        intents: &[(3, "replace", "f")],
        kept: &[THEIRS, b"newer"],
    },
    Dead {
        name: "without a record",
        files: &[(".wl/stage/dead/3.swap", THEIRS)],
        intents: &[],
        kept: &[THEIRS],
    },
    Dead {
        name: "with trash that is not in the index",
        files: &[("f", NEW), (".wl/trash/dead/3", OLD)],
        intents: &[(3, "replace", "f")],
        kept: &[OLD, NEW],
    },
    Dead {
        name: "with content that somebody wrote to",
        files: &[("f", OLD), (".wl/stage/dead/3.part", THEIRS)],
        intents: &[(3, "create", "f")],
        kept: &[OLD, THEIRS],
    },
    Dead {
        name: "with a version moved aside",
        files: &[
            (".wl/stage/dead/3.swap", OLD),
            (".wl/stage/dead/3.part", NEW),
        ],
        intents: &[(3, "replace", "f")],
        kept: &[OLD],
    },
    Dead {
        name: "in the middle of a batch",
        files: &[
            ("f", NEW),
            ("g", THEIRS),
            (".wl/stage/dead/1.swap", OLD),
            (".wl/stage/dead/2.swap", NEW),
            (".wl/stage/dead/4.swap", THEIRS),
            (".wl/stage/dead/5.part", NEW),
            (".wl/stage/dead/6.part", LARGE),
        ],
        intents: &[
            (1, "replace", "f"),
            (2, "replace", "g"),
            (4, "remove", "h"),
            (5, "create", "i"),
        ],
        kept: &[OLD, THEIRS],
    },
];

impl Dead {
    fn on(&self, rules: Rules) -> Disk {
        let disk = Machine::default().disk("disk", rules);
        self.lie_on(&disk);
        disk
    }

    fn lie_on(&self, disk: &Disk) {
        let user = disk.user();
        for (path, content) in self.files {
            user.write(path, content).unwrap();
        }
        let lines = self.intents.iter().map(|(n, op, path)| {
            let mut line = json!({
                "n": n, "op": op, "path": path, "kind": "file",
                "hash": ContentHash::of(OLD), "token": "1-2-3.4-5.6",
            });
            if matches!(*op, "replace" | "create") {
                line["new"] = json!({ "ino": 1, "hash": ContentHash::of(NEW) });
            }
            format!("{line}\n")
        });
        let journal: String = lines.collect();
        user.write(".wl/stage/dead/journal", journal.as_bytes())
            .unwrap();
        user.write(".wl/stage/dead/lock", b"").unwrap();
        user.write(".wl/lock", b"").unwrap();
    }

    /// Whether all that has to be is still on the disk.
    fn is_kept(&self, disk: &Disk) -> std::result::Result<(), String> {
        let all: BTreeSet<Node> = disk.user().everything().into_values().collect();
        for content in self.kept {
            if !all.contains(&Node::File(content.to_vec())) {
                return Err(format!("{:?} is lost", String::from_utf8_lossy(content)));
            }
        }
        Ok(())
    }

    fn is_aside(&self) -> bool {
        self.name == "with a version moved aside"
    }

    /// Whether something in it is somebody's, for which there has to be room.
    fn is_somebodys(&self) -> bool {
        let names = [
            "with a racing version in hand",
            "with a racing version in hand, and another at the path",
            "without a record",
            "with content that somebody wrote to",
        ];
        names.contains(&self.name)
    }
}

/// No byte more fits on it.
fn fill(disk: &Disk) {
    disk.set_capacity(Some(0));
}

fn open(disk: &Disk, limit: Renames) -> LocalBackend {
    LocalBackend::on_weak_model(disk, limit.exchange, limit.no_replace).unwrap()
}

async fn recover(disk: &Disk, limit: Renames) -> Result<Vec<StrandedVersion>> {
    let session = open(disk, limit).begin(options(&run_name())).await?;
    Ok(session.stranded().await)
}

fn staged(disk: &Disk) -> Vec<String> {
    let paths = disk.user().everything().into_keys();
    paths
        .filter(|path| path.starts_with(".wl/stage/dead/"))
        .collect()
}

#[tokio::test]
async fn what_is_of_no_use_goes_first_and_makes_room() {
    let state = STATES
        .iter()
        .find(|it| it.name == "in the middle of a batch");
    let disk = state.unwrap().on(Rules::Journal);
    let full = disk.user().everything();
    let size = |node: &Node| match node {
        Node::File(content) => content.len() as u64,
        _ => 0,
    };
    disk.set_capacity(Some(full.values().map(size).sum()));
    recover(&disk, Renames::ALL).await.unwrap();
    assert_eq!(staged(&disk), [""; 0]);
    let backend = open(&disk, Renames::ALL);
    let trash = backend.trash_list().await.unwrap();
    let replaced = trash.iter().filter(|it| it.state == TrashState::Replaced);
    assert_eq!(replaced.count(), 1, "{trash:?}");
    assert_eq!(disk.user().read("h").as_deref(), Some(THEIRS));
}

#[tokio::test]
async fn what_there_is_no_room_for_waits_and_the_session_begins_unless_it_is_somebodys() {
    for (state, limit) in STATES
        .iter()
        .flat_map(|state| WEAK.map(|limit| (state, limit)))
    {
        let disk = state.on(Rules::Journal);
        let told = format!("{} {limit:?}", state.name);
        // What the file system can do is known from before.
        let backend = open(&disk, limit);
        fill(&disk);
        let before = disk.user().tree();
        for _ in 0..2 {
            match backend.begin(options(&run_name())).await {
                Ok(_) => assert!(!state.is_somebodys(), "{told}"),
                Err(error) => {
                    assert!(state.is_somebodys(), "{told}: {error}");
                    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
                    assert!(error.to_string().contains("`wl trash empty disk`"));
                }
            }
            state
                .is_kept(&disk)
                .unwrap_or_else(|why| panic!("{told}: {why}"));
            let shown = disk.user().tree();
            let put_back = state.is_aside() || state.name == "in the middle of a batch";
            assert!(shown == before || put_back, "{told}: {shown:?}");
        }
        disk.set_capacity(None);
        recover(&disk, limit).await.unwrap();
        assert_eq!(staged(&disk), [""; 0], "{told}");
        state
            .is_kept(&disk)
            .unwrap_or_else(|why| panic!("{told}: {why}"));
    }
}

/// A look at the tree would take it for removed.
#[tokio::test]
async fn a_version_that_is_at_no_path_does_not_wait() {
    let state = STATES.iter().find(|state| state.is_aside()).unwrap();
    for (limit, op) in [(WEAK[1], Op::MoveNew), (WEAK[2], Op::Link)] {
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            let disk = state.on(Rules::Journal);
            let backend = open(&disk, limit);
            let machine = disk.machine().clone();
            let hook = disk.clone();
            machine.on_call(move |call| {
                if call.when == When::Before && call.op == op && call.name == "3.swap" {
                    hook.machine().fail_at(call.number, When::Before, errno);
                }
            });
            let error = backend.begin(options(&run_name())).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Full, "{error}");
            assert!(
                error.to_string().contains("`wl trash empty disk`"),
                "{error}"
            );
            state.is_kept(&disk).unwrap();
            machine.forget_hook();
            backend.begin(options(&run_name())).await.unwrap();
            assert_eq!(disk.user().read("f").as_deref(), Some(OLD));
            assert_eq!(staged(&disk), [""; 0]);
        }
    }
}

/// What a file system can do is tried out in a folder of its own, for which there may be no room either.
#[tokio::test]
async fn what_cannot_be_tried_out_waits_unless_a_version_may_be_at_no_path() {
    for state in &STATES {
        let disk = state.on(Rules::Journal);
        fill(&disk);
        let backend = open(&disk, Renames::ALL);
        let begun = backend.begin(options(&run_name())).await;
        let is_missed = state.is_aside() || state.is_somebodys();
        match is_missed || state.name == "in the middle of a batch" {
            true => assert_eq!(begun.unwrap_err().kind(), ErrorKind::Full),
            false => drop(begun.unwrap_or_else(|error| panic!("{}: {error}", state.name))),
        }
        state.is_kept(&disk).unwrap();
        disk.set_capacity(None);
        recover(&disk, Renames::ALL).await.unwrap();
        assert_eq!(staged(&disk), [""; 0], "{}", state.name);
        state.is_kept(&disk).unwrap();
    }
}

/// What goes wrong at one call of what takes care.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    Killed(When),
    PowerCut(When, u64),
    NoRoom(Errno),
}

impl Mishap {
    fn plan(self, machine: &Machine, call: u64) {
        match self {
            Self::Killed(when) | Self::PowerCut(when, _) => machine.crash_at(call, when),
            Self::NoRoom(errno) => machine.fail_at(call, When::Before, errno),
        }
    }

    fn is_over(self, machine: &Machine) {
        match self {
            Self::Killed(_) => machine.restart(Loss::Process),
            Self::PowerCut(_, dice) => machine.restart(Loss::Power(Dice::new(dice))),
            Self::NoRoom(_) => {}
        }
    }
}

const MISHAPS: [Mishap; 6] = [
    Mishap::Killed(When::Before),
    Mishap::Killed(When::After),
    Mishap::PowerCut(When::Before, 1),
    Mishap::PowerCut(When::After, 2),
    Mishap::NoRoom(Errno::NOSPC),
    Mishap::NoRoom(Errno::DQUOT),
];

/// With room and without, each call of what takes care goes wrong, and the trash is emptied before it is tried again.
#[tokio::test]
async fn whatever_goes_wrong_when_a_full_storage_is_tidied_up_nothing_is_lost() {
    go_wrong(1).await;
}

#[tokio::test]
#[ignore = "takes a minute"]
async fn each_call_goes_wrong_in_each_way() {
    go_wrong(MISHAPS.len()).await;
}

/// In so many ways at each call, the next ones at the next call.
async fn go_wrong(ways: usize) {
    let mut failures = Vec::new();
    for (number, state) in STATES.iter().enumerate() {
        let rules = [Rules::Journal, Rules::Loose][number % 2];
        for (limit, full) in WEAK
            .into_iter()
            .flat_map(|limit| [false, true].map(|full| (limit, full)))
        {
            let mut call = 1;
            'calls: loop {
                for way in 0..ways {
                    let mishap = MISHAPS[(number + call as usize + way) % MISHAPS.len()];
                    match state.goes_wrong(rules, limit, full, mishap, call).await {
                        Ok(true) => {}
                        Ok(false) => break 'calls,
                        Err(why) => failures.push(format!(
                            "{} {limit:?} full {full} {mishap:?} at {call}: {why}",
                            state.name
                        )),
                    }
                }
                call += 1;
            }
        }
    }
    let some = &failures[..failures.len().min(8)];
    assert!(failures.is_empty(), "{} of them: {some:#?}", failures.len());
}

impl Dead {
    /// Whether there was such a call.
    async fn goes_wrong(
        &self,
        rules: Rules,
        limit: Renames,
        full: bool,
        mishap: Mishap,
        call: u64,
    ) -> std::result::Result<bool, String> {
        let disk = self.on(rules);
        let machine = disk.machine();
        let backend = open(&disk, limit);
        if full {
            fill(&disk);
        }
        mishap.plan(machine, machine.calls() + call);
        let _ = backend.begin(options(&run_name())).await;
        if machine.fired() == 0 {
            return Ok(false);
        }
        mishap.is_over(machine);
        self.is_kept(&disk)?;
        let emptied = open(&disk, limit).trash_empty(week()).await;
        emptied.map_err(|error| format!("emptying: {error}"))?;
        // Or else it is recovered from.
        let _ = recover(&disk, limit).await;
        self.is_kept(&disk)?;
        disk.set_capacity(None);
        let recovered = recover(&disk, limit).await;
        recovered.map_err(|error| format!("afterwards: {error}"))?;
        self.is_kept(&disk)?;
        if !staged(&disk).is_empty() {
            return Err(format!("{:?} is left", staged(&disk)));
        }
        self.is_claimed_or_shown(&disk, limit).await?;
        Ok(true)
    }

    /// What is in the trash is in its list, or nobody would find it.
    async fn is_claimed_or_shown(
        &self,
        disk: &Disk,
        limit: Renames,
    ) -> std::result::Result<(), String> {
        let listed = open(disk, limit).trash_list().await.unwrap();
        let listed: BTreeSet<_> = listed
            .iter()
            .map(|it| format!(".wl/trash/{}", it.id))
            .collect();
        let all = disk.user().everything();
        for content in self.kept {
            let node = Node::File(content.to_vec());
            let mut places = all.iter().filter(|(_, found)| **found == node);
            if !places.any(|(path, _)| !path.starts_with(".wl/") || listed.contains(path)) {
                return Err(format!(
                    "nobody finds {:?}",
                    String::from_utf8_lossy(content)
                ));
            }
        }
        Ok(())
    }
}

fn week() -> SessionOptions {
    SessionOptions {
        trash_keep: TrashKeep::default(),
        ..options(&run_name())
    }
}

/// Whatever a dead session left, and with no byte of room.
#[tokio::test]
async fn emptying_the_trash_needs_no_room() {
    for state in &STATES {
        let disk = Machine::default().disk("disk", Rules::Journal);
        disk.user().write("x", LARGE).unwrap();
        let backend = open(&disk, Renames::ALL);
        let session = backend.begin(options("older")).await.unwrap();
        let meta = backend.stat(&p("x")).await.unwrap().unwrap();
        let expected = Expected::of(&meta, Some(ContentHash::of(LARGE)));
        take(&*session, "x", expected).await.unwrap();
        session.finish().await.unwrap();
        state.lie_on(&disk);
        // As if that had been killed when all but its empty folder was away.
        disk.user().make_dir(".wl/stage/older").unwrap();
        fill(&disk);
        let backend = open(&disk, Renames::ALL);
        let hook = disk.clone();
        disk.machine().on_call(move |call| {
            if call.when == When::Before && matches!(call.op, Op::Create | Op::MakeDir) {
                let machine = hook.machine();
                machine.fail_at(call.number, When::Before, Errno::NOSPC);
            }
        });
        let none = SessionOptions {
            trash_keep: TrashKeep::None,
            ..options(&run_name())
        };
        let emptied = backend.trash_empty(none).await;
        emptied.unwrap_or_else(|error| panic!("{}: {error}", state.name));
        assert_eq!(backend.trash_list().await.unwrap(), [], "{}", state.name);
        state.is_kept(&disk).unwrap();
    }
}

#[tokio::test]
async fn a_session_that_found_no_room_for_its_own_folder_goes_on_once_there_is_some() {
    for missing in ["lock", "journal"] {
        let disk = Machine::default().disk("disk", Rules::Journal);
        disk.user().write("x", OLD).unwrap();
        let backend = open(&disk, Renames::ALL);
        let session = backend.begin(options("run")).await.unwrap();
        let meta = backend.stat(&p("x")).await.unwrap().unwrap();
        let expected = Expected::of(&meta, Some(ContentHash::of(OLD)));
        let hook = disk.clone();
        disk.machine().on_call(move |call| {
            if call.when == When::Before && call.op == Op::Create && call.name == missing {
                let machine = hook.machine();
                machine.fail_at(call.number, When::Before, Errno::NOSPC);
            }
        });
        for _ in 0..2 {
            let error = take(&*session, "x", expected.clone()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Full, "{missing}: {error}");
        }
        disk.machine().forget_hook();
        take(&*session, "x", expected).await.unwrap();
        session.finish().await.unwrap();
    }
}
