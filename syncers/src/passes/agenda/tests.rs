mod heard;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn path(text: &str) -> SyncPath {
    SyncPath::new(text).unwrap()
}

fn started(now: Instant) -> Agenda {
    let mut agenda = Agenda::new(HOUR, now);
    assert_eq!(agenda.take(now), Next::Look(Area::Everything));
    agenda.looked(&Area::Everything, &[], now);
    agenda
}

#[test]
fn everything_is_due_at_first_and_every_so_often() {
    let now = Instant::now();
    let mut agenda = started(now);
    assert_eq!(agenda.take(now), Next::Rest);
    assert_eq!(agenda.due(), now + HOUR);
    assert_eq!(agenda.take(now + HOUR), Next::Look(Area::Everything));
    assert_eq!(agenda.due(), now + 2 * HOUR);
    agenda.add(Area::Everything, now);
    let later = now + HOUR + HOUR / 2;
    assert_eq!(agenda.take(later), Next::Look(Area::Everything));
    assert_eq!(agenda.due(), later + HOUR, "whoever asked for it");
}

/// What a long sweep found is looked at before anybody is told that it has ended: that is told at rest.
#[test]
fn nothing_is_over_while_more_is_to_be_looked_at_just_now() {
    let now = Instant::now();
    let mut agenda = started(now);
    agenda.sweep(Side::Target);
    assert_eq!(agenda.take(now), Next::Sweep(Side::Target));
    agenda.add(Area::path(path("a")), now);
    assert_eq!(agenda.take(now), Next::Look(Area::path(path("a"))));
    assert_eq!(agenda.take(now), Next::Rest);
}

/// Where a look takes longer than the time between two, there is a pause all the same; a gap that a watcher tells of does not wait for it.
#[test]
fn looks_at_everything_that_take_long_are_not_made_without_a_pause() {
    let minute = HOUR / 60;
    for (took, worked, pause) in [
        (2 * HOUR, false, HOUR),
        (30 * minute, false, HOUR),
        (15 * minute, false, 45 * minute),
        (2 * HOUR, true, minute),
    ] {
        let start = Instant::now();
        let mut agenda = started(start);
        let ended = start + took;
        // One long look may be one that hung.
        for _ in 0..2 {
            agenda.looked_at_all(took, worked, ended);
        }
        agenda.everything_within(minute / 2, ended);
        assert_eq!(
            agenda.due().max(ended) - ended,
            pause.max(minute / 2),
            "{took:?}"
        );
        agenda.add(Area::Everything, ended);
        assert_eq!(agenda.take(ended), Next::Look(Area::Everything));
    }
}

#[test]
fn what_is_said_is_due_at_once() {
    let now = Instant::now();
    let mut agenda = started(now);
    agenda.add(Area::path(path("a")), now);
    agenda.add(Area::subtree(path("b")), now);
    let mut area = Area::path(path("a"));
    area.add_subtree(path("b"));
    assert_eq!(agenda.take(now), Next::Look(area));
    assert_eq!(agenda.take(now), Next::Rest);
}

#[test]
fn a_path_that_does_not_come_to_rest_is_let_alone_longer_and_longer() {
    let now = Instant::now();
    let mut agenda = started(now);
    let busy = Area::path(path("busy"));
    let (mut at, mut rests, mut told) = (now, Vec::new(), Vec::new());
    for _ in 0..20 {
        told.push(agenda.looked(&busy, &[path("busy")], at));
        // Events come all the time.
        agenda.add(busy.clone(), at);
        assert_eq!(agenda.take(at), Next::Rest);
        rests.push(agenda.due() - at);
        at = agenda.due();
        assert_eq!(agenda.take(at), Next::Look(busy.clone()));
    }
    assert_eq!(rests[0], FIRST_REST);
    assert_eq!(rests[1], FIRST_REST * 2);
    assert_eq!(rests[19], LONGEST_REST);
    assert_eq!(
        told.iter().position(|told| *told),
        Some(MOST_TRIES as usize - 1)
    );
    agenda.looked(&busy, &[], at);
    agenda.add(busy.clone(), now);
    assert_eq!(agenda.take(at), Next::Look(busy), "at rest again");
}

#[test]
fn what_is_written_to_is_pending_for_as_long_as_that_goes_on() {
    let mut at = Instant::now();
    let mut agenda = started(at);
    let (iso, odd) = (path("iso"), path("odd"));
    let mut both = Area::path(iso.clone());
    both.add_path(odd.clone());
    for look in 1..20 {
        agenda.looked(&both, &[iso.clone(), odd.clone()], at);
        agenda.written(std::slice::from_ref(&iso));
        // The other one has a problem, which says more.
        let told = if look < MOST_TRIES { 2 } else { 1 };
        assert_eq!(agenda.pending(at).paths, told, "{look}");
        assert_eq!(agenda.pending(at).first[0], iso);
        at = agenda.due();
        assert_eq!(agenda.take(at), Next::Look(both.clone()));
    }
    agenda.looked(&both, &[], at);
    assert_eq!(agenda.pending(at), Pending::default());
}

/// A look that reads nothing costs little: it comes soon and often, so that the end of the writing is not missed.
#[test]
fn what_is_let_be_is_looked_at_soon_however_long_that_goes_on() {
    let mut at = Instant::now();
    let mut agenda = started(at);
    let iso = [path("iso")];
    let area = Area::path(path("iso"));
    for look in 0..100 {
        assert!(!agenda.looked(&area, &iso, at), "told as a problem: {look}");
        agenda.written(&iso);
        agenda.let_be(&iso, at);
        assert_eq!(agenda.due() - at, WRITTEN_REST, "{look}");
        assert_eq!(agenda.pending(at).first, iso);
        agenda.add(area.clone(), at);
        assert_eq!(agenda.take(at), Next::Rest, "events come all the time");
        at = agenda.due();
        assert_eq!(agenda.take(at), Next::Look(area.clone()));
    }
    // What is then read in vain has its growing pauses.
    for longer in [1, 2, 4, 8] {
        agenda.looked(&area, &iso, at);
        assert_eq!(agenda.due() - at, FIRST_REST * longer);
        at = agenda.due();
        agenda.take(at);
    }
}

#[test]
fn a_path_that_changes_all_the_time_has_a_pace_and_is_pending_meanwhile() {
    let start = Instant::now();
    let mut agenda = started(start);
    let log = Area::path(path("log"));
    let (mut now, mut looks) = (start, Vec::new());
    while now < start + Duration::from_secs(60) {
        agenda.add(log.clone(), now);
        match agenda.take(now) {
            Next::Look(area) => {
                assert_eq!(area, log);
                looks.push((now - start).as_millis());
                agenda.looked(&log, &[], now);
                agenda.carried(&log, 100, now);
                // It is always so young that its token says nothing.
                agenda.confirm(vec![path("log")], now);
            }
            _ => assert_eq!(
                agenda.pending(now).first,
                [path("log")],
                "{:?}",
                now - start
            ),
        }
        now += Duration::from_millis(10);
    }
    assert_eq!(looks[..5], [0, 10, 20, 30, 40], "at once at first");
    assert_eq!(looks[5], 1040);
    assert!(looks.len() < 5 + 12, "{looks:?}");
    // At rest, it has one more look, and then it is quiet.
    let due = agenda.due();
    assert_eq!(agenda.pending(due).until, Some(due));
    assert_eq!(agenda.take(due), Next::Look(log.clone()));
    agenda.looked(&log, &[], due);
    assert_eq!(agenda.pending(due), Pending::default());
    assert_eq!(agenda.due(), start + HOUR);
    // Left alone for a while, it goes at once again.
    let later = due + Duration::from_secs(60);
    agenda.looked(&log, &[], later);
    agenda.carried(&log, 100, later);
    agenda.add(log.clone(), later);
    assert_eq!(agenda.take(later), Next::Look(log));
}

#[test]
fn a_group_that_changes_all_the_time_has_a_pace() {
    let start = Instant::now();
    let mut agenda = started(start);
    let (mut now, mut looks) = (start, 0);
    while now < start + Duration::from_secs(60) {
        // A transaction every second: the database is quiet in between.
        agenda.add(Area::path(path("db-wal")), now);
        assert_eq!(agenda.pending(now).first, [path("db")]);
        now += Duration::from_secs(1);
        if let Next::Look(area) = agenda.take(now) {
            looks += 1;
            agenda.looked(&area, &[], now);
            agenda.carried(&area, 100, now);
        }
    }
    assert!(looks < 5 + 12, "{looks}");
}

#[test]
fn what_waits_and_is_too_much_to_be_told_apart_is_pending_until_everything_was_looked_at() {
    let now = Instant::now();
    let mut agenda = started(now);
    for number in 0..=MOST_PLACES {
        agenda.add(Area::path(path(&format!("{number}-wal"))), now);
    }
    let due = now + LONGEST_REST;
    assert_eq!(agenda.pending(now).until, Some(due));
    assert_eq!(agenda.take(due), Next::Look(Area::Everything));
    assert!(agenda.pending(now).paths > 0);
    agenda.looked(&Area::Everything, &[], due);
    assert_eq!(agenda.pending(now), Pending::default());
}

#[test]
fn a_young_path_is_looked_at_once_more_and_at_once_if_it_changes() {
    let now = Instant::now();
    let mut agenda = started(now);
    let fresh = Area::path(path("fresh"));
    agenda.confirm(vec![path("fresh")], now);
    assert_eq!(agenda.take(now), Next::Rest);
    assert_eq!(agenda.due(), now + YOUNG);
    agenda.add(fresh.clone(), now);
    assert_eq!(agenda.take(now), Next::Look(fresh.clone()));
    agenda.looked(&fresh, &[], now);
    agenda.confirm(vec![path("fresh")], now);
    assert_eq!(agenda.take(now + YOUNG), Next::Look(fresh.clone()));
    agenda.looked(&fresh, &[], now + YOUNG);
    assert_eq!(agenda.due(), now + HOUR);
}

/// A clock that was set back makes what was just written young for as long as that.
#[test]
fn a_path_that_stays_young_is_looked_at_less_and_less_often() {
    let start = Instant::now();
    let mut agenda = started(start);
    let stays = Area::path(path("stays"));
    agenda.confirm(vec![path("stays")], start);
    let mut now = start;
    let mut looks = 0;
    while now < start + Duration::from_secs(600) {
        now = agenda.due();
        assert_eq!(agenda.take(now), Next::Look(stays.clone()));
        agenda.looked(&stays, &[], now);
        agenda.confirm(vec![path("stays")], now);
        looks += 1;
    }
    assert!((20..40).contains(&looks), "{looks}");
    // What is said of it counts at once, and begins anew.
    agenda.add(stays.clone(), now);
    assert_eq!(agenda.take(now), Next::Look(stays.clone()));
    agenda.looked(&stays, &[], now);
    agenda.confirm(vec![path("stays")], now);
    assert_eq!(agenda.due(), now + YOUNG);
}

#[test]
fn a_resting_path_is_looked_at_with_what_holds_it() {
    let now = Instant::now();
    let mut agenda = started(now);
    agenda.looked(&Area::path(path("a/x")), &[path("a/x")], now);
    agenda.add(Area::subtree(path("a")), now);
    let area = Area::subtree(path("a"));
    assert_eq!(agenda.take(now), Next::Look(area.clone()));
    agenda.looked(&area, &[], now);
    assert_eq!(agenda.due(), now + HOUR);
}

#[test]
fn a_side_that_may_have_changed_anywhere_is_swept_and_both_are_everything() {
    let now = Instant::now();
    let mut agenda = started(now);
    agenda.sweep(Side::Target);
    agenda.add(Area::path(path("a")), now);
    assert_eq!(
        agenda.take(now),
        Next::Look(Area::path(path("a"))),
        "what is quick comes first"
    );
    assert_eq!(agenda.take(now), Next::Sweep(Side::Target));
    assert_eq!(agenda.take(now), Next::Rest);
    Side::BOTH.into_iter().for_each(|side| agenda.sweep(side));
    assert_eq!(agenda.take(now), Next::Look(Area::Everything));
    assert_eq!(agenda.take(now), Next::Rest);
    agenda.sweep(Side::Source);
    agenda.add(Area::Everything, now);
    assert_eq!(agenda.take(now), Next::Look(Area::Everything));
    assert_eq!(agenda.take(now), Next::Rest, "it was for that side too");
}

#[test]
fn a_group_is_looked_at_whole_when_it_was_quiet() {
    for (said, group) in [
        ("a/.git/index", Area::subtree(path("a/.git"))),
        ("a/.git", Area::subtree(path("a/.git"))),
        (
            "x.db-wal",
            Group::by_name(&path("x.db-wal")).unwrap().area(),
        ),
    ] {
        let now = Instant::now();
        let mut agenda = started(now);
        agenda.add(Area::path(path(said)), now);
        assert_eq!(agenda.take(now), Next::Rest, "{said}");
        let later = now + QUIET_GROUP / 2;
        agenda.add(Area::subtree(path(said)), later);
        assert_eq!(agenda.due(), later + QUIET_GROUP, "{said}");
        assert_eq!(agenda.take(now + QUIET_GROUP), Next::Rest, "{said}");
        assert_eq!(agenda.take(agenda.due()), Next::Look(group), "{said}");
        assert_eq!(agenda.due(), now + HOUR);
    }
}

#[test]
fn a_database_waits_with_what_lies_beside_it() {
    let now = Instant::now();
    let mut agenda = started(now);
    agenda.add(Area::path(path("x-journal")), now);
    agenda.add(Area::path(path("x")), now);
    assert_eq!(agenda.take(now), Next::Rest);
    let Next::Look(area) = agenda.take(agenda.due()) else {
        panic!("nothing is due")
    };
    assert!(area.holds(&path("x")) && area.holds(&path("x-wal")));
    agenda.add(Area::path(path("x")), now);
    assert_eq!(
        agenda.take(now),
        Next::Look(Area::path(path("x"))),
        "a file like others"
    );
}

#[test]
fn a_group_that_keeps_changing_is_looked_at_all_the_same() {
    let start = Instant::now();
    let (mut agenda, mut now, mut quiet) = (started(start), start, Duration::ZERO);
    while agenda.take(now) == Next::Rest {
        agenda.add(Area::path(path(".git/HEAD")), now);
        quiet = quiet.max(agenda.due() - now);
        now += Duration::from_millis(100);
        assert!(now - start <= LONGEST_REST + QUIET_GROUP);
    }
    assert_eq!(now - start, LONGEST_REST);
    assert!(quiet > 10 * QUIET_GROUP, "{quiet:?}");
}

#[test]
fn a_group_that_did_not_come_to_rest_is_let_alone_and_then_looked_at_whole() {
    let now = Instant::now();
    let mut agenda = started(now);
    let git = Area::subtree(path(".git"));
    agenda.looked(&git, &[path(".git")], now);
    agenda.add(Area::path(path(".git/HEAD")), now);
    assert_eq!(agenda.due(), now + FIRST_REST);
    assert_eq!(agenda.take(agenda.due()), Next::Look(git));
}

#[test]
fn a_group_goes_along_with_what_holds_it() {
    let now = Instant::now();
    let mut agenda = started(now);
    agenda.add(Area::path(path("a/.git/HEAD")), now);
    agenda.add(Area::subtree(path("a")), now);
    assert_eq!(agenda.take(now), Next::Look(Area::subtree(path("a"))));
    assert_eq!(agenda.due(), now + HOUR);
}

#[test]
fn memory_is_bounded() {
    let now = Instant::now();
    let mut agenda = started(now);
    let many: Vec<_> = (0..=MOST_PLACES).map(|n| path(&n.to_string())).collect();
    agenda.looked(&Area::Everything, &many, now);
    assert!(agenda.resting.is_empty());
    assert_eq!(agenda.due(), now + LONGEST_REST);
    assert_eq!(agenda.take(agenda.due()), Next::Look(Area::Everything));
}

/// Such a look takes a while; one at a few is over before it was told.
#[test]
fn many_paths_that_are_to_be_looked_at_at_once_are_pending_until_then() {
    let now = Instant::now();
    let mut agenda = started(now);
    for number in 0..FEW {
        agenda.add(Area::path(path(&format!("{number}"))), now);
    }
    assert_eq!(agenda.pending(now), Pending::default());
    agenda.add(Area::path(path("more")), now);
    assert_eq!(agenda.pending(now).paths, FEW as u64 + 1);
    agenda.take(now);
    assert_eq!(agenda.pending(now), Pending::default());
    // Folders may stand for more than is told apart.
    let mut many = Area::default();
    for number in 0..=MOST_PLACES {
        many.add_path(path(&format!("d/{number}")));
    }
    agenda.add(many.clone(), now);
    assert_eq!(agenda.pending(now).paths, MOST_PLACES as u64);
    assert_eq!(agenda.take(now), Next::Look(many));
    agenda.add(Area::subtree(path("d")), now);
    assert_eq!(
        agenda.pending(now),
        Pending::default(),
        "one folder that came"
    );
    agenda.take(now);
    // A look at everything that comes by itself is no news; one that something asks for is.
    agenda.everything_within(Duration::ZERO, now);
    assert_eq!(agenda.pending(now), Pending::default());
    agenda.add(Area::Everything, now);
    assert!(agenda.pending(now).anywhere);
    assert_eq!(agenda.take(now), Next::Look(Area::Everything));
    assert_eq!(agenda.pending(now), Pending::default());
    agenda.heard(Side::Source, Area::Everything, &Sides::new(true, true), now);
    assert_eq!(agenda.pending(now), Pending::default(), "who polls asks");
    assert_eq!(agenda.take(now), Next::Look(Area::Everything));
    agenda.look_at_all(now);
    assert_eq!(agenda.pending(now), Pending::default());
    assert_eq!(agenda.take(now), Next::Look(Area::Everything));
}

/// Nobody may say that both are in sync before that side was looked at, from after the gap on.
#[test]
fn what_may_be_missing_waits_until_its_side_was_looked_at() {
    let now = Instant::now();
    let second = HOUR / 3600;
    let mut agenda = started(now);
    agenda.missed(Side::Source, now);
    agenda.heard(Side::Source, Area::Everything, &Sides::default(), now);
    agenda.add(Area::path(path("a")), now);
    assert!(agenda.pending(now).anywhere);
    assert_eq!(agenda.take(now), Next::Look(Area::path(path("a"))));
    assert!(agenda.pending(now).anywhere, "that was another path");
    let began = now + second;
    assert_eq!(agenda.take(began), Next::Sweep(Side::Source));
    assert!(agenda.pending(now).anywhere, "it goes on");
    assert!(!agenda.swept(Side::Target, began));
    // The same again before the end.
    let mut other = started(now);
    other.missed(Side::Source, began + second);
    assert!(!other.swept(Side::Source, began));
    assert!(other.pending(now).anywhere);
    assert!(agenda.swept(Side::Source, began));
    assert_eq!(agenda.pending(now), Pending::default());
    assert!(!agenda.swept(Side::Source, began), "once");
}
