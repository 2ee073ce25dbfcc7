//! Results for people.

use std::fmt::Write;

use serde_json::Value;
use wl_daemon::model::{
    ChangeCounts, Conflict, ConflictSide, Direction, Outcome, Problem, RunReport, Side,
};

use super::{escape, quote};

/// How many lines of a list are printed.
const SHOWN: usize = 20;

/// The command that ends a conflict: what goes before the path, and after it.
#[derive(Clone, Debug)]
pub struct NextStep {
    /// `wl resolve SOURCE TARGET`, say.
    pub resolve: String,
    /// Options, each with a space before it.
    pub options: String,
    /// Which way the run goes that the command starts.
    pub direction: Direction,
}

impl NextStep {
    fn command(&self, conflict: &Conflict) -> String {
        let path = &conflict.path;
        // A path that starts with a dash would be read as an option.
        let dash = if path.starts_with('-') { "./" } else { "" };
        format!(
            "{} {}{} --keep {}",
            self.resolve,
            quote(&format!("{dash}{path}")),
            self.options,
            choices(conflict, self.direction).join("|")
        )
    }
}

/// What a run was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// To make both sides equal.
    Sync,
    /// To end the conflicts at some paths; it looked at nothing else.
    Resolve,
}

/// The report of a run that did something.
pub fn report(report: &RunReport, aim: Aim, dry_run: bool, next: &NextStep) -> String {
    let mut text = String::new();
    headline(&mut text, report, aim, dry_run);
    for side in Side::BOTH {
        let changes = match side {
            Side::Source => report.changes.source,
            Side::Target => report.changes.target,
        };
        line(&mut text, format_args!("  {side}: {}", counts(changes)));
    }
    if report.skipped > 0 {
        line(
            &mut text,
            format_args!(
                "  skipped: {} that cannot be synced (a socket, say, or the shared memory of a database)",
                plural(report.skipped as usize, "file")
            ),
        );
    }
    if report.excluded > 0 {
        line(
            &mut text,
            format_args!("  left out: {}", plural(report.excluded as usize, "path")),
        );
    }
    for notice in &report.notices {
        line(&mut text, format_args!("  note: {}", escape(notice)));
    }
    drift(&mut text, report);
    text += &conflicts(&report.conflicts, next);
    text += &problems(&report.problems);
    text
}

fn headline(text: &mut String, report: &RunReport, aim: Aim, dry_run: bool) {
    let (source, target) = (place(&report.source), place(&report.target));
    let failed = plural(report.problems.len(), "problem");
    let how = match (report.result, aim) {
        _ if report.error.is_some() => "Stopped before the end of".to_owned(),
        _ if dry_run => "Dry run of".to_owned(),
        (Outcome::Synced, Aim::Sync) => "Synced".to_owned(),
        (Outcome::Conflicts, Aim::Sync) => "Synced, but for conflicts,".to_owned(),
        (Outcome::Failed, Aim::Sync) => format!("Not in sync, {failed}:"),
        (Outcome::Synced, Aim::Resolve) => "Ended what was named between".to_owned(),
        (Outcome::Conflicts, Aim::Resolve) => "Conflicts are left between".to_owned(),
        (Outcome::Failed, Aim::Resolve) => format!("Not all was ended, {failed}:"),
    };
    let moved = match dry_run {
        true => "nothing was changed; a run would do this".to_owned(),
        false => format!(
            "{} written in {:.1} s",
            bytes(report.bytes.written),
            report.seconds
        ),
    };
    line(text, format_args!("{how} {source} and {target}: {moved}"));
}

/// A storage as a report names it.
pub fn place(storage: &Value) -> String {
    let name = storage["location"].as_str().or(storage["type"].as_str());
    escape(name.unwrap_or("?"))
}

fn counts(changes: ChangeCounts) -> String {
    let words = [
        (changes.created, "created"),
        (changes.updated, "updated"),
        (changes.removed, "removed"),
        (changes.renamed, "renamed"),
    ];
    let some: Vec<_> = words.iter().filter(|(count, _)| *count > 0).collect();
    if some.is_empty() {
        return "no changes".to_owned();
    }
    let some: Vec<_> = some.iter().map(|(n, word)| format!("{n} {word}")).collect();
    some.join(", ")
}

fn drift(text: &mut String, report: &RunReport) {
    if report.drift.is_empty() {
        return;
    }
    let count = plural(report.drift.len(), "difference");
    line(text, format_args!("{count} left alone in the target:"));
    list(text, &report.drift, |text, drift| {
        line(
            text,
            format_args!("  {}: {}", escape(&drift.path), escape(&drift.reason)),
        );
    });
}

/// Open conflicts, each with the command that ends it. Empty without any.
pub fn conflicts(conflicts: &[Conflict], next: &NextStep) -> String {
    let mut text = String::new();
    if conflicts.is_empty() {
        return text;
    }
    let count = plural(conflicts.len(), "conflict");
    line(
        &mut text,
        format_args!("{count}; both versions were left as they are:"),
    );
    list(&mut text, conflicts, |text, conflict| {
        let (path, reason) = (escape(&conflict.path), escape(&conflict.reason));
        let (source, target) = (version(&conflict.source), version(&conflict.target));
        line(text, format_args!("  {path}: {reason}"));
        // Its reason says how it ends.
        if conflict.is_about_trash() {
            return;
        }
        line(
            text,
            format_args!("    the source has {source}, the target {target}"),
        );
        line(
            text,
            format_args!("    to end it: {}", next.command(conflict)),
        );
    });
    text
}

/// What can be kept: permissions and what only makes sense together not twice, the newer only where the times tell, and of what goes one
/// way nothing that writes to the source.
fn choices(conflict: &Conflict, direction: Direction) -> Vec<&'static str> {
    let two_way = direction == Direction::TwoWay;
    let mut choices = vec!["source"];
    choices.extend(two_way.then_some("target"));
    let (Some(source), Some(target)) = (&conflict.source, &conflict.target) else {
        return choices;
    };
    if conflict.is_about_group() {
        return choices;
    }
    let is_folder = |side: &ConflictSide| side.kind == "folder";
    let are_equal = source.kind == target.kind
        && (is_folder(source)
            || (source.hash.is_some() && source.hash == target.hash)
            || (source.link.is_some() && source.link == target.link));
    // A folder stays where it is, the other version makes room.
    let both = !are_equal && (two_way || !is_folder(target));
    choices.extend(both.then_some("both"));
    let time = |side: &ConflictSide| side.mtime.filter(|_| !is_folder(side));
    let newer = match (time(source), time(target)) {
        (Some(source), Some(target)) if two_way => source != target,
        (Some(source), Some(target)) => source > target,
        _ => false,
    };
    choices.extend(newer.then_some("newer"));
    choices
}

fn version(side: &Option<ConflictSide>) -> String {
    match side {
        None => "nothing".to_owned(),
        Some(side) => match (side.size, &side.link) {
            (_, Some(link)) => format!("a {} to {}", side.kind, escape(link)),
            (Some(size), _) => format!("a {} of {}", side.kind, bytes(size)),
            _ if side.kind == "absent" => "nothing".to_owned(),
            _ => format!("a {}", side.kind),
        },
    }
}

/// Paths that failed. Empty without any.
pub fn problems(problems: &[Problem]) -> String {
    let mut text = String::new();
    if problems.is_empty() {
        return text;
    }
    let count = plural(problems.len(), "problem");
    line(
        &mut text,
        format_args!("{count}; correct what is wrong and run again:"),
    );
    list(&mut text, problems, |text, problem| {
        let path = escape(&problem.path);
        let (operation, reason) = (escape(&problem.operation), escape(&problem.reason));
        // Some problems are of both storages.
        let place = match &*problem.storage {
            "" => String::new(),
            storage => format!(" in {}", escape(storage)),
        };
        line(text, format_args!("  {path}: {operation}{place}: {reason}"));
    });
    text
}

fn list<T>(text: &mut String, items: &[T], mut each: impl FnMut(&mut String, &T)) {
    for item in items.iter().take(SHOWN) {
        each(text, item);
    }
    if items.len() > SHOWN {
        let more = items.len() - SHOWN;
        line(
            text,
            format_args!("  and {more} more: --output json shows all"),
        );
    }
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{words}");
}

/// `1 conflict`, `2 conflicts`.
pub fn plural(count: usize, word: &str) -> String {
    match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    }
}

/// `512 bytes`, `1.5 KiB`, `2.0 GiB`.
pub fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} bytes");
    }
    let mut value = count as f64 / 1024.0;
    let mut units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].iter();
    let mut unit = units.next().unwrap_or(&"KiB");
    while value >= 1023.95 {
        let Some(next) = units.next() else { break };
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// Seconds since 1970 as `2026-01-31 12:00:00Z`.
pub fn date(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, in eras of 400 years: see "days from civil".
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(1023), "1023 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn a_problem_of_both_storages_names_none() {
        let problem = Problem {
            path: "a".to_owned(),
            storage: String::new(),
            operation: "resolve".to_owned(),
            reason: "why".to_owned(),
        };
        assert!(problems(&[problem]).ends_with("  a: resolve: why\n"));
    }

    #[test]
    fn dates_are_civil() {
        assert_eq!(date(0), "1970-01-01 00:00:00Z");
        assert_eq!(date(951_827_696), "2000-02-29 12:34:56Z");
        assert_eq!(date(-1), "1969-12-31 23:59:59Z");
        assert_eq!(date(4_107_542_400), "2100-03-01 00:00:00Z");
    }

    fn next() -> NextStep {
        NextStep {
            resolve: "wl resolve a b".to_owned(),
            options: String::new(),
            direction: Direction::TwoWay,
        }
    }

    fn absent() -> ConflictSide {
        ConflictSide {
            kind: "absent".to_owned(),
            size: None,
            hash: None,
            link: None,
            mtime: None,
        }
    }

    #[test]
    fn a_version_in_the_trash_is_not_to_be_resolved() {
        let conflict = Conflict {
            path: "f".to_owned(),
            reason: "a version is kept; take it out with `wl trash restore`".to_owned(),
            source: None,
            target: None,
            ancestor: None,
        };
        let text = conflicts(&[conflict], &next());
        assert!(
            text.ends_with("take it out with `wl trash restore`\n"),
            "{text}"
        );
        assert!(!text.contains("wl resolve"), "{text}");
    }

    #[test]
    fn long_lists_are_cut_and_names_cannot_write_to_the_terminal() {
        let conflict = Conflict {
            path: "-a\x1b[2J".to_owned(),
            reason: "both sides changed".to_owned(),
            source: Some(absent()),
            target: Some(absent()),
            ancestor: None,
        };
        let next = next();
        let text = conflicts(&vec![conflict; 25], &next);
        assert!(!text.contains('\x1b'));
        assert!(
            text.contains(r"wl resolve a b $'./-a\x1b[2J' --keep"),
            "{text}"
        );
        assert!(text.ends_with("  and 5 more: --output json shows all\n"));
        assert_eq!(text.lines().count(), 1 + 3 * SHOWN + 1);
    }
}
