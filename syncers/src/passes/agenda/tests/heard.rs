//! What watchers say, and what is done about it: who polls, what is said by whom, what is looked at in turn.

use wl_core::model::{Side, Sides};
use wl_core::storage::Area;

use super::super::{Agenda, Next};
use super::{path, started};
use tokio::time::Instant;

/// `everything`, or places: `a` is a path, `a/` a subtree.
fn area(text: &str) -> Area {
    let mut area = Area::default();
    for place in text.split_whitespace() {
        match place.strip_suffix('/') {
            _ if place == "everything" => area = Area::Everything,
            Some(folder) => area.add_subtree(path(folder)),
            None => area.add_path(path(place)),
        }
    }
    area
}

fn side(text: &str) -> Side {
    match text {
        "source" => Side::Source,
        "target" => Side::Target,
        other => panic!("{other}"),
    }
}

/// Who polls, what is said (`SIDE: AREA`, several between `;`), what is done then (`look AREA` or `sweep SIDE`, in turn).
type Row = (&'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const TABLE: [Row; 17] = [
    ("a change", "", "source: a", "look a"),
    ("of the other side", "", "target: a", "look a"),
    ("of both sides, one look", "", "source: a; target: a b", "look a b"),
    ("a folder and what is in it", "", "source: d/x; target: d/", "look d/"),
    ("a gap on a side: the other told all of its changes", "", "source: everything", "sweep source"),
    ("gaps on both sides are one look", "", "source: everything; target: everything", "look everything"),
    ("a gap that is told twice", "", "target: everything; target: everything", "sweep target"),
    ("a change goes before a gap", "", "source: everything; target: a", "look a; sweep source"),
    ("whatever the order", "", "target: a; source: everything", "look a; sweep source"),
    ("a side that polls", "source", "source: everything", "sweep source"),
    ("and one that is watched meanwhile", "source", "source: everything; target: a", "look a; sweep source"),
    ("a gap on the side that is watched: what the other holds is not known", "source", "target: everything", "look everything"),
    ("active places of a side that polls", "target", "target: d/ x", "look d/ x"),
    ("two that poll: one look is for both", "source target", "target: everything", "look everything"),
    ("and one, not two, if both ask at once", "source target", "source: everything; target: everything", "look everything"),
    ("everything holds the rest", "source target", "source: a; target: everything; source: b", "look everything"),
    ("nothing", "", "source: ", ""),
];

#[test]
fn what_watchers_say_is_looked_at_where_nothing_else_knows_of_it() {
    for (what, polls, said, done) in TABLE {
        let now = Instant::now();
        let mut agenda = started(now);
        let polls = Sides::from_fn(|side| {
            let name = if side == Side::Source {
                "source"
            } else {
                "target"
            };
            polls.contains(name)
        });
        for one in said.split("; ") {
            let (who, places) = one.split_once(": ").unwrap();
            agenda.heard(side(who), area(places), &polls, now);
        }
        let expected = done.split("; ").filter(|one| !one.is_empty());
        let expected = expected.map(|one| match one.split_once(' ').unwrap() {
            ("look", places) => Next::Look(area(places)),
            (_, who) => Next::Sweep(side(who)),
        });
        let expected: Vec<_> = expected.collect();
        assert_eq!(all(&mut agenda, now), expected, "{what}");
    }
}

/// All that is due.
fn all(agenda: &mut Agenda, now: Instant) -> Vec<Next> {
    let next = || Some(agenda.take(now)).filter(|next| *next != Next::Rest);
    std::iter::from_fn(next).collect()
}
