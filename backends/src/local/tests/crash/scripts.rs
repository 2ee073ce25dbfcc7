//! What users do, told by hand and by dice.

use wl_core::model::Side::{self, Source, Target};

use super::judge::Edit::{self, Hold, InPlace, Late, Link, MakeDir, Remove, Rename, Write};
use crate::local::model::Dice;

type Edits = &'static [(Side, Edit)];

/// What is there, is synced, and is edited then; the run after that is the one that crashes.
#[derive(Clone, Debug)]
pub struct Script {
    pub name: &'static str,
    pub before: Vec<(Side, Edit)>,
    pub edits: Vec<(Side, Edit)>,
}

const OLD: &[u8] = b"old content, longer than a block";
const NEW: &[u8] = b"new content, longer than a block too";
const OTHER: &[u8] = b"other content of the other side's user";

const BY_HAND: [(&str, Edits, Edits); 6] = [
    (
        "first sync",
        &[],
        &[
            (Source, Write("a", OLD)),
            (Source, Write("d/b", NEW)),
            (Target, Write("d/c", OTHER)),
            (Source, Link("l", "d/b")),
        ],
    ),
    (
        "edits",
        &[
            (Source, Write("a", OLD)),
            (Source, Write("b", OLD)),
            (Target, Write("d/c", OTHER)),
        ],
        &[
            (Source, Write("a", NEW)),
            (Source, InPlace("d/c", NEW)),
            (Target, Write("b", OTHER)),
        ],
    ),
    (
        "removals",
        &[
            (Source, Write("a", OLD)),
            (Source, Write("d/b", NEW)),
            (Target, Write("d/c", OTHER)),
        ],
        &[(Source, Remove("a")), (Target, Remove("d"))],
    ),
    (
        "renames",
        &[
            (Source, Write("a", OLD)),
            (Source, Write("d/b", NEW)),
            (Source, MakeDir("e")),
        ],
        &[(Source, Rename("a", "e/a")), (Target, Rename("d/b", "b"))],
    ),
    (
        "conflicts",
        &[(Source, Write("a", OLD)), (Source, Write("b", OLD))],
        &[
            (Source, Write("a", NEW)),
            (Target, Write("a", OTHER)),
            (Target, Remove("b")),
            (Source, Write("b", NEW)),
        ],
    ),
    (
        "types",
        &[(Source, Write("a", OLD)), (Source, Write("d/b", NEW))],
        &[
            (Source, Remove("a")),
            (Source, Write("a/x", OTHER)),
            (Target, Remove("d")),
            (Target, Write("d", OTHER)),
        ],
    ),
];

/// What is written while a run is going on.
const MEANWHILE: [&[u8]; 3] = [b"written while a run was going on", b"yet another", b"x"];

/// The histories that are told by hand.
pub fn by_hand() -> Vec<Script> {
    let script = |(name, before, edits): (_, Edits, Edits)| Script {
        name,
        before: before.to_vec(),
        edits: edits.to_vec(),
    };
    BY_HAND.into_iter().map(script).collect()
}

/// More files than are synced one by one.
pub fn many() -> Script {
    let all = |content| -> Vec<(Side, Edit)> {
        let paths = (10..30).map(|n| &*format!("f{n}").leak());
        paths.map(|path| (Source, Write(path, content))).collect()
    };
    Script {
        name: "many",
        before: all(OLD),
        edits: all(NEW),
    }
}

const PATHS: [&str; 6] = ["a", "b", "d", "d/a", "d/b", "e/a"];
/// Each is written once at the most, so that it is known whose it is.
const CONTENTS: [&[u8]; 12] = [
    b"one",
    b"two and some more of it",
    b"three, which is a good deal longer than a block",
    b"four",
    b"five and some more of it",
    b"six, which is a good deal longer than a block",
    b"",
    b"eight and some more of it",
    b"nine, which is a good deal longer than a block",
    b"ten",
    b"eleven and some more of it",
    b"twelve, which is a good deal longer than a block",
];

/// A history as the dice fall. What cannot be done when its turn comes is left out.
pub fn by_dice(dice: &mut Dice) -> Script {
    let mut contents = CONTENTS.iter().copied();
    let mut some = |most: usize, dice: &mut Dice| {
        let count = dice.below(most + 1);
        (0..count)
            .filter_map(|_| Some((any_side(dice), any_edit(dice, &mut contents)?)))
            .collect()
    };
    Script {
        name: "dice",
        before: some(5, dice),
        edits: some(5, dice),
    }
}

fn any_side(dice: &mut Dice) -> Side {
    if dice.flip() { Source } else { Target }
}

fn any_edit(dice: &mut Dice, contents: &mut impl Iterator<Item = &'static [u8]>) -> Option<Edit> {
    let path = PATHS[dice.below(PATHS.len())];
    Some(match dice.below(8) {
        0..=2 => Write(path, contents.next()?),
        3 => InPlace(path, contents.next()?),
        4 => Remove(path),
        5 => Rename(path, PATHS[dice.below(PATHS.len())]),
        6 => MakeDir(path),
        _ => Link(path, "somewhere"),
    })
}

/// Edits that come while a run is going on, up to its call `last`.
pub fn meanwhile(dice: &mut Dice, last: u64) -> Vec<(u64, Side, Edit)> {
    let mut contents = MEANWHILE.iter().copied();
    let when = |dice: &mut Dice| 1 + dice.below(last as usize) as u64;
    let mut edits = Vec::new();
    for _ in 0..dice.below(3) {
        let side = any_side(dice);
        let path = PATHS[dice.below(PATHS.len())];
        let Some(content) = contents.next() else {
            break;
        };
        let call = when(dice);
        let edit = match dice.below(8) {
            0 | 1 => Write(path, content),
            2 | 3 => InPlace(path, content),
            4 => Remove(path),
            5 => Rename(path, "moved"),
            _ => {
                edits.push((call.min(when(dice)), side, Hold(path)));
                Late(content)
            }
        };
        edits.push((call, side, edit));
    }
    edits
}
