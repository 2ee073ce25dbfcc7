//! The table of the design, row by row, and what must hold for all of its rows.

mod after_a_kill;

use super::*;
use crate::model::{ContentHash, Direction, Kind, Mode, Side, Sides};
use crate::sync::DeleteBudget;

/// `-` nothing, `1` `2` `3` files of one size with known content, `4` one of another size, `=` a file whose token is that of the baseline,
/// `?` a file of the baseline's size and `!` one of another that were not read, `L` `M` links, `D` a folder, `u` unknown, `x` excluded.
fn look(code: char) -> Look<'static> {
    let item = |kind, content, size, link| {
        Look::There(Item {
            kind,
            content,
            size,
            link,
            mode: Some(Mode::new(0o644)),
        })
    };
    let file = |content, size| item(Kind::File, content, size, None);
    match code {
        '-' => Look::Absent,
        '1' | '2' | '3' => file(Content::Hash(ContentHash::of(&[code as u8])), 1),
        '4' => file(Content::Hash(ContentHash::of(b"44")), 2),
        '=' => file(Content::Same, 1),
        '?' => file(Content::Unread, 1),
        '!' => file(Content::Unread, 9),
        'L' => item(Kind::Link, Content::Unread, 0, Some("l")),
        'M' => item(Kind::Link, Content::Unread, 0, Some("m")),
        'D' => item(Kind::Folder, Content::Unread, 0, None),
        'u' => Look::Unknown,
        'x' => Look::LeftAlone,
        _ => panic!("no look {code}"),
    }
}

fn base(code: char) -> Option<Base<'static>> {
    let Look::There(item) = look(code) else {
        return None;
    };
    let hash = match item.content {
        Content::Hash(hash) => Some(hash),
        _ => None,
    };
    Some(Base {
        kind: item.kind,
        hash,
        link: item.link,
        sizes: Sides::new(item.size, item.size),
        modes: Sides::new(item.mode, item.mode),
    })
}

fn decide(policy: Policy, row: &str) -> Verdict {
    decide_with(policy, row, &[])
}

fn decide_with(policy: Policy, row: &str, announced: &[Announced]) -> Verdict {
    let codes: Vec<char> = row.chars().collect();
    let (base, source, target) = (base(codes[0]), look(codes[1]), look(codes[2]));
    let looks = Sides::new(&source, &target);
    reconcile(policy, base.as_ref(), announced, looks)
}

/// A verdict in a word.
fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Nothing => "nothing",
        Verdict::Forget => "forget",
        Verdict::Agreed(_) => "agreed",
        Verdict::Read(Sides {
            source: true,
            target: true,
        }) => "read both",
        Verdict::Read(Sides { source: true, .. }) => "read source",
        Verdict::Read(_) => "read target",
        Verdict::Update {
            to: Side::Target, ..
        } => "to target",
        Verdict::Update { .. } => "to source",
        Verdict::Remove { on: Side::Target } => "remove on target",
        Verdict::Remove { .. } => "remove on source",
        Verdict::Retype { from: Side::Source } => "source's type",
        Verdict::Retype { .. } => "target's type",
        Verdict::Conflict(Conflicting::Content) => "conflict",
        Verdict::Conflict(Conflicting::Types) => "conflict of types",
        Verdict::Conflict(Conflicting::Modes) => "conflict of modes",
        Verdict::Drift => "drift",
        Verdict::Wait => "wait",
    }
}

/// Baseline, source, target: what is done two-way, one-way, in a mirror.
const TABLE: &[(&str, &str, &str, &str)] = &[
    ("---", "nothing", "nothing", "nothing"),
    ("1--", "forget", "forget", "forget"),
    ("-11", "agreed", "agreed", "agreed"),
    ("122", "agreed", "agreed", "agreed"),
    ("1==", "agreed", "agreed", "agreed"),
    ("-1-", "to target", "to target", "to target"),
    ("12=", "to target", "to target", "to target"),
    (
        "1-=",
        "remove on target",
        "remove on target",
        "remove on target",
    ),
    ("--1", "to source", "drift", "remove on target"),
    ("1=2", "to source", "drift", "to target"),
    ("1=-", "remove on source", "drift", "to target"),
    ("1-2", "to source", "drift", "remove on target"),
    ("12-", "to target", "to target", "to target"),
    ("123", "conflict", "conflict", "to target"),
    ("-12", "conflict", "conflict", "to target"),
    ("-14", "conflict", "conflict", "to target"),
    // Links and files share a path: a change of one is a change of content.
    ("LM=", "conflict", "conflict", "to target"),
    ("LML", "to target", "to target", "to target"),
    ("L1L", "to target", "to target", "to target"),
    ("1L=", "to target", "to target", "to target"),
    // Folders.
    ("-D-", "to target", "to target", "to target"),
    ("DDD", "agreed", "agreed", "agreed"),
    (
        "D-D",
        "remove on target",
        "remove on target",
        "remove on target",
    ),
    ("DD-", "remove on source", "drift", "to target"),
    ("1D=", "source's type", "source's type", "source's type"),
    ("1=D", "target's type", "target's type", "source's type"),
    ("D1D", "source's type", "source's type", "source's type"),
    ("DD1", "target's type", "target's type", "source's type"),
    (
        "-D1",
        "conflict of types",
        "conflict of types",
        "source's type",
    ),
    (
        "1D2",
        "conflict of types",
        "conflict of types",
        "source's type",
    ),
    ("1D-", "to target", "to target", "to target"),
    ("1D?", "read target", "read target", "source's type"),
    // What is not known is never acted on.
    ("1u=", "wait", "wait", "wait"),
    ("1=u", "wait", "wait", "wait"),
    ("-1u", "wait", "wait", "wait"),
    ("-u1", "wait", "wait", "wait"),
    ("1xx", "wait", "wait", "wait"),
    ("1x-", "wait", "wait", "wait"),
    // What only reading tells.
    ("1?=", "read source", "read source", "read source"),
    ("1=?", "read target", "read target", "read target"),
    ("1??", "read both", "read both", "read both"),
    ("-??", "read both", "read both", "read both"),
    ("1-?", "read target", "read target", "remove on target"),
    ("1?-", "read source", "read source", "to target"),
    ("1!=", "to target", "to target", "to target"),
    ("1!?", "read target", "read target", "to target"),
    ("1!2", "conflict", "conflict", "to target"),
];

#[test]
fn the_table() {
    for &(row, two_way, one_way, mirror) in TABLE {
        let directions = [
            (Direction::TwoWay, two_way),
            (Direction::OneWay, one_way),
            (Direction::Mirror, mirror),
        ];
        for (direction, wanted) in directions {
            assert_eq!(
                word(decide(direction.into(), row)),
                wanted,
                "{row} {direction:?}"
            );
        }
    }
}

fn all_rows() -> impl Iterator<Item = String> {
    let bases = ['-', '1', 'L', 'D'];
    let looks = [
        '-', '1', '2', '3', '4', '=', '?', '!', 'L', 'M', 'D', 'u', 'x',
    ];
    bases
        .into_iter()
        .flat_map(move |base| {
            looks.into_iter().flat_map(move |source| {
                looks
                    .into_iter()
                    .map(move |target| format!("{base}{source}{target}"))
            })
        })
        // Only what has a baseline can be the same as in the baseline.
        .filter(|row| row.starts_with('1') || !row.contains('='))
}

fn turned(verdict: Verdict) -> Verdict {
    let plan = |plan: ModePlan| ModePlan {
        set: Sides::new(plan.set.target, plan.set.source),
        ..plan
    };
    match verdict {
        Verdict::Agreed(modes) => Verdict::Agreed(plan(modes)),
        Verdict::Read(sides) => Verdict::Read(Sides::new(sides.target, sides.source)),
        Verdict::Update { to, modes } => Verdict::Update {
            to: to.other(),
            modes: plan(modes),
        },
        Verdict::Remove { on } => Verdict::Remove { on: on.other() },
        Verdict::Retype { from } => Verdict::Retype { from: from.other() },
        other => other,
    }
}

#[test]
fn two_way_knows_no_left_and_right() {
    for row in all_rows() {
        let codes: Vec<char> = row.chars().collect();
        let reverse: String = [codes[0], codes[2], codes[1]].iter().collect();
        assert_eq!(
            decide(Policy::TwoWay, &row),
            turned(decide(Policy::TwoWay, &reverse)),
            "{row} against {reverse}"
        );
    }
}

#[test]
fn one_way_and_mirror_never_write_to_the_source() {
    for row in all_rows() {
        for policy in [Policy::OneWay, Policy::Master(Side::Source)] {
            let verdict = decide(policy, &row);
            let writes = match verdict {
                Verdict::Update { to, modes } => to == Side::Source || modes.set.source.is_some(),
                Verdict::Remove { on } => on == Side::Source,
                Verdict::Agreed(modes) => modes.set.source.is_some(),
                Verdict::Retype { from } => {
                    from == Side::Target && policy == Policy::Master(Side::Source)
                }
                _ => false,
            };
            assert!(!writes, "{row} {policy:?}: {verdict:?}");
        }
    }
}

#[test]
fn nothing_is_removed_or_replaced_without_knowing_both_sides() {
    for row in all_rows().filter(|row| row[1..].contains(['u', 'x'])) {
        for policy in [Policy::TwoWay, Policy::OneWay, Policy::Master(Side::Source)] {
            assert_eq!(decide(policy, &row), Verdict::Wait, "{row} {policy:?}");
        }
    }
}

#[test]
fn reading_ends() {
    for row in all_rows() {
        for policy in [Policy::TwoWay, Policy::OneWay, Policy::Master(Side::Source)] {
            if let Verdict::Read(sides) = decide(policy, &row) {
                let read = |at: usize, wanted: bool| {
                    let code = row.chars().nth(at).unwrap();
                    assert!(!wanted || "?!".contains(code), "{row}: reads what is known");
                    if wanted { '2' } else { code }
                };
                let next: String = [
                    row.chars().next().unwrap(),
                    read(1, sides.source),
                    read(2, sides.target),
                ]
                .iter()
                .collect();
                let again = decide(policy, &next);
                if let Verdict::Read(more) = again {
                    assert_ne!(
                        (more.source, more.target),
                        (sides.source, sides.target),
                        "{row}"
                    );
                }
            }
        }
    }
}

#[test]
fn modes_travel_only_when_changed_on_their_own_side() {
    let item = |mode: Option<u32>| Item {
        kind: Kind::Folder,
        content: Content::Unread,
        size: 0,
        link: None,
        mode: mode.map(Mode::new),
    };
    let base = Base {
        kind: Kind::Folder,
        hash: None,
        link: None,
        sizes: Sides::default(),
        modes: Sides::new(Some(Mode::new(0o700)), Some(Mode::new(0o777))),
    };
    let plan = |policy, source, target| {
        merge_modes(
            policy,
            Some(&base),
            Sides::new(&item(source), &item(target)),
            None,
        )
    };
    let sets = |plan: ModePlan| plan.set.map(|mode| mode.map(Mode::bits));
    let two_way = |source, target| plan(Policy::TwoWay, source, target);
    // A target that shows 0777 for everything sends nothing back.
    assert_eq!(two_way(Some(0o700), Some(0o777)), ModePlan::default());
    assert_eq!(
        sets(two_way(Some(0o750), Some(0o777))),
        Sides::new(None, Some(0o750))
    );
    assert_eq!(
        sets(two_way(Some(0o700), Some(0o755))),
        Sides::new(Some(0o755), None)
    );
    assert_eq!(two_way(Some(0o750), Some(0o750)), ModePlan::default());
    assert!(two_way(Some(0o750), Some(0o755)).conflict);
    assert_eq!(two_way(Some(0o750), None), ModePlan::default());
    assert!(plan(Policy::OneWay, Some(0o700), Some(0o755)).drift);
    let mirror = Policy::Master(Side::Source);
    assert_eq!(
        sets(plan(mirror, Some(0o700), Some(0o755))),
        Sides::new(None, Some(0o777))
    );
    assert_eq!(
        sets(plan(mirror, Some(0o750), Some(0o755))),
        Sides::new(None, Some(0o750))
    );
}

#[test]
fn no_more_files_are_counted_than_the_budget_asks_for() {
    let budgets = [0, 1, 33, 50, 100].map(DeleteBudget::Percent);
    for budget in budgets.into_iter().chain([0, 7].map(DeleteBudget::Count)) {
        for (lost, files) in (0..60).flat_map(|lost| (0..200).map(move |files| (lost, files))) {
            let judge = |files| {
                let side = Side::Target;
                judge_losses(budget, Losses { side, lost, files })
            };
            let counted = files.min(files_that_allow(budget, lost));
            assert_eq!(judge(counted), judge(files), "{budget} {lost} {files}");
        }
    }
    assert_eq!(files_that_allow(DeleteBudget::Percent(50), 1000), 2000);
}

#[test]
fn the_delete_budget() {
    let judge = |budget, lost, files| {
        judge_losses(
            budget,
            Losses {
                side: Side::Target,
                lost,
                files,
            },
        )
    };
    let half = DeleteBudget::Percent(50);
    assert_eq!(
        judge(half, 20, 20),
        BudgetVerdict::Within,
        "small trees are not looked at"
    );
    assert_eq!(judge(half, 21, 42), BudgetVerdict::Within);
    assert_eq!(
        judge(DeleteBudget::Percent(100), 50, 0),
        BudgetVerdict::Within,
        "all of it, and what never was in the baseline"
    );
    assert_eq!(judge(half, 21, 41), BudgetVerdict::Exceeded);
    assert_eq!(
        judge(DeleteBudget::Count(0), 1, 1000),
        BudgetVerdict::Exceeded
    );
    assert_eq!(judge(DeleteBudget::Count(1), 1, 1), BudgetVerdict::Within);
    assert_eq!(
        judge(DeleteBudget::Percent(0), u64::MAX, u64::MAX),
        BudgetVerdict::Exceeded
    );
    assert_eq!("50%".parse(), Ok(half));
    assert_eq!("7".parse(), Ok(DeleteBudget::Count(7)));
    assert!("101%".parse::<DeleteBudget>().is_err() && "half".parse::<DeleteBudget>().is_err());
}
