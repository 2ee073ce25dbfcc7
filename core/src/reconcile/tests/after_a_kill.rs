//! What a killed run announced, and did not live to record.

use super::*;

/// What was announced for `to`, of a baseline of this code (`-`: nothing).
fn announced(to: Side, code: char, was: char) -> Announced {
    let content = |base: &Base<'_>| Announced::content(base.kind, base.hash.as_ref(), base.link);
    let (told, was) = (base(code), base(was));
    Announced {
        to,
        hash: told.as_ref().and_then(content),
        size: told.map_or(0, |told| told.sizes[to]),
        mode: Some(Mode::new(0o644)),
        was: was.as_ref().and_then(content),
        sure: true,
    }
}

/// Baseline, source, target; what was announced for the target: what is done two-way, one-way, in a mirror.
const AFTER_A_KILL: &[(&str, char, &str, &str, &str)] = &[
    // The target got it, and the source went on.
    ("-21", '1', "to target", "to target", "to target"),
    ("-41", '1', "to target", "to target", "to target"),
    ("132", '2', "to target", "to target", "to target"),
    ("-L1", '1', "to target", "to target", "to target"),
    ("12L", 'L', "to target", "to target", "to target"),
    ("LM1", '1', "to target", "to target", "to target"),
    ("-ML", 'L', "to target", "to target", "to target"),
    // It went back to what was agreed on before: that is a change, too.
    ("112", '2', "to target", "to target", "to target"),
    ("1=2", '2', "to target", "to target", "to target"),
    // The target holds something else: it never got it, or went on itself.
    ("-21", '3', "conflict", "conflict", "to target"),
    ("132", '3', "conflict", "conflict", "to target"),
    ("12=", '3', "to target", "to target", "to target"),
    ("1=2", '3', "to source", "drift", "to target"),
    ("-12", '1', "conflict", "conflict", "to target"),
    ("-!L", '1', "conflict", "conflict", "to target"),
    ("12L", 'M', "conflict", "conflict", "to target"),
    ("-L!", 'L', "conflict", "conflict", "to target"),
    ("--2", '1', "to source", "drift", "remove on target"),
    (
        "1-=",
        '2',
        "remove on target",
        "remove on target",
        "remove on target",
    ),
    (
        "-1D",
        '2',
        "conflict of types",
        "conflict of types",
        "source's type",
    ),
    // Only reading tells whether it got it.
    ("-4?", '1', "read target", "read target", "to target"),
    ("1!?", '2', "read target", "read target", "to target"),
    ("-??", '1', "read both", "read both", "read both"),
    ("-1!", '1', "conflict", "conflict", "to target"),
    // What the target has not got may never have been there.
    ("-1-", '1', "to target", "to target", "to target"),
    ("-D-", 'D', "to target", "to target", "to target"),
    ("-1u", '1', "wait", "wait", "wait"),
    ("-u1", '1', "wait", "wait", "wait"),
    ("-x1", '1', "wait", "wait", "wait"),
    // It was to be removed, and is there all the same.
    (
        "1-=",
        '-',
        "remove on target",
        "remove on target",
        "remove on target",
    ),
    ("1-2", '-', "to source", "drift", "remove on target"),
    ("1--", '-', "forget", "forget", "forget"),
    // It was removed on both, and made anew as it was.
    ("1=-", '-', "to target", "to target", "to target"),
    ("1?-", '-', "to target", "to target", "to target"),
    ("DD-", '-', "to target", "to target", "to target"),
];

/// The same, where the other side cannot have lost anything by itself: what it has not got any more was removed.
const FOR_SURE: &[(&str, char, &str, &str, &str)] = &[
    (
        "--1",
        '1',
        "remove on target",
        "remove on target",
        "remove on target",
    ),
    (
        "1-2",
        '2',
        "remove on target",
        "remove on target",
        "remove on target",
    ),
    (
        "--L",
        'L',
        "remove on target",
        "remove on target",
        "remove on target",
    ),
    (
        "--D",
        'D',
        "remove on target",
        "remove on target",
        "remove on target",
    ),
    ("--?", '1', "read target", "read target", "remove on target"),
    (
        "-D1",
        '1',
        "source's type",
        "source's type",
        "source's type",
    ),
    ("-D?", '1', "read target", "read target", "source's type"),
    (
        "-1D",
        'D',
        "source's type",
        "source's type",
        "source's type",
    ),
    (
        "DD1",
        '1',
        "source's type",
        "source's type",
        "source's type",
    ),
];

/// And where it may have.
const NOT_FOR_SURE: &[(&str, char, &str, &str, &str)] = &[
    ("--1", '1', "to source", "drift", "remove on target"),
    ("1-2", '2', "to source", "drift", "remove on target"),
    ("--D", 'D', "to source", "drift", "remove on target"),
    (
        "-D1",
        '1',
        "conflict of types",
        "conflict of types",
        "source's type",
    ),
];

#[test]
fn the_table_after_a_kill() {
    let both = AFTER_A_KILL
        .iter()
        .flat_map(|row| [(row, true), (row, false)]);
    let sure = FOR_SURE.iter().map(|row| (row, true));
    let not_sure = NOT_FOR_SURE.iter().map(|row| (row, false));
    for (&(row, code, two_way, one_way, mirror), sure) in both.chain(sure).chain(not_sure) {
        let was = row.chars().next().unwrap();
        let directions = [
            (Direction::TwoWay, two_way),
            (Direction::OneWay, one_way),
            (Direction::Mirror, mirror),
        ];
        for (direction, wanted) in directions {
            let mut all = [announced(Side::Target, code, was)];
            all[0].sure = sure;
            let verdict = decide_with(direction.into(), row, &all);
            assert_eq!(word(verdict), wanted, "{row} {code} {direction:?} {sure}");
        }
    }
    // For the source, in a run that does not write to it.
    let all = [announced(Side::Source, '1', '-')];
    assert_eq!(word(decide_with(Policy::TwoWay, "-12", &all)), "to source");
    assert_eq!(word(decide_with(Policy::OneWay, "-12", &all)), "drift");
    assert_eq!(
        word(decide_with(Policy::TwoWay, "-1-", &all)),
        "remove on source"
    );
    assert_eq!(word(decide_with(Policy::OneWay, "-1-", &all)), "drift");
    // Of several the last that holds counts.
    let [one, two] =
        [(Side::Target, '2'), (Side::Source, '1')].map(|(to, code)| announced(to, code, '-'));
    assert_eq!(
        word(decide_with(Policy::TwoWay, "-12", &[one, two])),
        "to source"
    );
    assert_eq!(
        word(decide_with(Policy::TwoWay, "-12", &[two, one])),
        "to target"
    );
    let other = announced(Side::Target, '3', '-');
    assert_eq!(
        word(decide_with(Policy::TwoWay, "-12", &[one, other])),
        "to target"
    );
}

/// What is there as it was announced counts as recorded, and nothing else does.
#[test]
fn an_announcement_that_is_done_is_a_row_and_any_other_is_nothing() {
    let told = Side::BOTH
        .into_iter()
        .flat_map(|to| "-1234LMD".chars().map(move |code| (to, code)))
        .flat_map(|(to, code)| "-12LD".chars().map(move |was| (to, code, was)))
        .flat_map(|(to, code, was)| [true, false].map(|sure| (to, code, was, sure)));
    let told: Vec<_> = told.collect();
    for row in all_rows() {
        let codes: Vec<char> = row.chars().collect();
        for &(to, code, was, sure) in &told {
            let mut all = [announced(to, code, was)];
            all[0].sure = sure;
            let (at, other) = match to {
                Side::Source => (codes[1], codes[2]),
                Side::Target => (codes[2], codes[1]),
            };
            let counts = was == codes[0]
                && (sure
                    || code == '-'
                    || (at != '-' && other != '-' && (at == 'D') == (other == 'D')));
            let holds = at == code || (at == '=' && code == codes[0]);
            let gone = codes[1] == '-' && codes[2] == '-';
            for policy in [Policy::TwoWay, Policy::OneWay, Policy::Master(Side::Source)] {
                let (without, with) = (decide(policy, &row), decide_with(policy, &row, &all));
                let master = matches!(policy, Policy::Master(_));
                let what = || format!("{row} {all:?} {policy:?}: {without:?} became {with:?}");
                if !counts || master || gone || without == Verdict::Wait {
                    assert_eq!(with, without, "{}", what());
                } else if at == '?' && "123".contains(code) {
                    assert!(
                        matches!(with, Verdict::Read(sides) if sides[to]),
                        "{}",
                        what()
                    );
                } else if holds {
                    let looks = row[1..].replace('=', &row[..1]);
                    assert_eq!(
                        with,
                        decide(policy, &format!("{code}{looks}")),
                        "{}",
                        what()
                    );
                } else {
                    assert_eq!(with, without, "{}", what());
                }
            }
        }
    }
}

/// Permission bits that one side set since it was published travel, as if it had been recorded.
#[test]
fn bits_that_were_set_after_a_kill_travel() {
    let item = |mode| Item {
        kind: Kind::File,
        content: Content::Hash(ContentHash::of(b"1")),
        size: 1,
        link: None,
        mode: Some(Mode::new(mode)),
    };
    let all = [announced(Side::Target, '1', '-')];
    let (source, target) = (Look::There(item(0o600)), Look::There(item(0o644)));
    let verdict = reconcile(Policy::TwoWay, None, &all, Sides::new(&source, &target));
    let set = Sides::new(None, Some(Mode::new(0o600)));
    assert!(matches!(verdict, Verdict::Agreed(plan) if plan.set == set));
}
