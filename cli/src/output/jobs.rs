//! Jobs of the daemon for people: the table of `wl status`, the lines of `wl events`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use wl_control::{
    Event, EventKind, JobStatus, PendingStatus, ProgressStatus, State, StorageStatus,
};

use super::human::{bytes, plural};
use super::{Output, escape};
use crate::error::{CliResult, Exit};

/// What a job's state means to the shell.
pub fn exit(job: &JobStatus) -> Exit {
    match job.state.0 {
        State::Synced => Exit::Done,
        State::Error | State::Paused => Exit::Failed,
        _ if job.error_count > 0 => Exit::Failed,
        State::Stopped | State::Running | State::OneShot => Exit::Conflicts,
    }
}

/// What the last state of a job that was attended to means to the shell: in sync, failed, or nothing left but conflicts.
pub fn last_exit(job: &JobStatus) -> Exit {
    match exit(job) {
        // Changes were on their way, and nobody brings them there.
        Exit::Conflicts if job.conflict_count == 0 => Exit::Failed,
        exit => exit,
    }
}

/// Prints an event: a line for people, or a JSON object on a line.
pub fn print_event(output: &Output, event: &Event) -> CliResult<()> {
    let line = match output.is_json() {
        true => serde_json::json!(event).to_string(),
        false => self::event(event),
    };
    output.data(&format!("{line}\n"))
}

/// A block of lines for each job. Some run with an older definition than their manifest has by now.
pub fn table(jobs: &[JobStatus], older: &[Option<String>]) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs_f64();
    let each = jobs.iter().zip(older).map(|(job, older)| {
        let mut block = block(job, now);
        if let Some(older) = older {
            line(&mut block, "note", escape(older));
        }
        block
    });
    each.collect()
}

fn block(job: &JobStatus, now: f64) -> String {
    let (state, text) = &job.state;
    let mut block = format!("{}  {}", escape(&job.job_id), state.name());
    if text != "synced" {
        block += &format!(": {}", escape(text));
    }
    block.push('\n');
    let arrow = match &*job.direction {
        "two-way" => "<->",
        "one-way" => "->",
        _ => "=>",
    };
    line(
        &mut block,
        "between",
        format!("{} {arrow} {}", storage(&job.source), storage(&job.target)),
    );
    if let Some(progress) = job
        .progress
        .as_ref()
        .filter(|it| it.seen > 0 || it.files_found > 0)
    {
        line(&mut block, "now", doing(progress));
    }
    if let Some(pending) = &job.pending {
        line(&mut block, "waiting", waiting(pending, now));
    }
    let done = job.done.source_changes + job.done.target_changes;
    line(
        &mut block,
        "done",
        format!(
            "{}, {} written",
            plural(done as usize, "change"),
            bytes(job.done.bytes_written)
        ),
    );
    let agreed = job.last_agreement.map(|at| ago(at, now));
    line(
        &mut block,
        "in sync",
        agreed.unwrap_or("never yet".to_owned()),
    );
    if let Some(at) = job.next_try {
        line(
            &mut block,
            "next try",
            format!("in {}", time((at - now).max(0.0))),
        );
    }
    if let (Some(source), Some(target)) = (&job.source.watched, &job.target.watched) {
        let source = watched(source, job.source.worst_delay);
        let target = watched(target, job.target.worst_delay);
        line(&mut block, "watched", format!("{source}; {target}"));
    }
    left(&mut block, job);
    block
}

/// What is left: conflicts and problems, the first of each.
fn left(block: &mut String, job: &JobStatus) {
    for (name, count, first) in [
        ("conflicts", job.conflict_count, &job.conflicts),
        ("problems", job.error_count, &job.errors),
    ] {
        if count > 0 {
            line(block, name, count.to_string());
            for one in first {
                *block += &format!("    {}\n", finding(one));
            }
            if count > first.len() as u64 {
                *block += &format!("    and {} more\n", count - first.len() as u64);
            }
        }
    }
}

fn line(block: &mut String, name: &str, value: String) {
    block.push_str(&format!("  {name:<10}{value}\n"));
}

/// A conflict or problem on one line.
fn finding(value: &Value) -> String {
    let text = |name: &str| escape(value[name].as_str().unwrap_or_default());
    format!("{}: {}", text("path"), text("reason"))
}

fn storage(storage: &StorageStatus) -> String {
    let place = storage.location.as_deref().unwrap_or("not reached yet");
    match &storage.backend_id {
        Some(id) => format!("{} ({})", escape(id), escape(place)),
        None => escape(place),
    }
}

fn doing(progress: &ProgressStatus) -> String {
    let mut text = format!(
        "{}: {} compared, {} of {} changes, {} of {}",
        progress.phase,
        progress.seen,
        progress.files_done,
        progress.files_found,
        bytes(progress.bytes_done),
        bytes(progress.bytes_found)
    );
    if progress.bytes_per_second >= 1.0 {
        text += &format!(", {}/s", bytes(progress.bytes_per_second as u64));
    }
    text
}

/// How a storage is watched, and after how long a change is seen at the latest.
fn watched(mode: &str, worst_delay: Option<f64>) -> String {
    match worst_delay {
        None => escape(mode),
        Some(seconds) if seconds < 1.0 => {
            format!("{}, within {} ms", escape(mode), (seconds * 1000.0).ceil())
        }
        Some(seconds) => format!("{}, within {}", escape(mode), time(seconds)),
    }
}

/// What waits for its time, and how long it may take.
fn waiting(pending: &PendingStatus, now: f64) -> String {
    let left = time((pending.until - now).max(0.0).ceil());
    if pending.anywhere {
        return "all of it: anything may have changed".to_owned();
    }
    let mut text = format!("{}, up to {left}", plural(pending.count as usize, "path"));
    let named: Vec<_> = pending.paths.iter().map(|path| escape(path)).collect();
    if !named.is_empty() {
        text += &format!(": {}", named.join(", "));
    }
    if !named.is_empty() && pending.count > named.len() as u64 {
        text += &format!(" and {} more", pending.count - named.len() as u64);
    }
    text
}

fn ago(at: f64, now: f64) -> String {
    format!("as of {} ago", time((now - at).max(0.0)))
}

fn time(seconds: f64) -> String {
    match seconds as u64 {
        s @ 0..=99 => format!("{s} s"),
        s @ 100..=5999 => format!("{} min", s / 60),
        s @ 6000..=172_799 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

/// An event on one line.
fn event(event: &Event) -> String {
    let job = escape(event.job_id.as_deref().unwrap_or_default());
    match event.kind {
        EventKind::Missed => {
            "events before this were missed; `wl status` and `wl container list-conflicts` say how things stand"
                .to_owned()
        }
        EventKind::State => {
            let state = serde_json::from_value(event.fields["state"].clone());
            let (state, text): (State, String) = state.unwrap_or((State::Error, String::new()));
            format!("{job}  {}  {}", state.name(), escape(&text))
        }
        EventKind::Progress => {
            let progress = serde_json::from_value(event.fields["progress"].clone());
            let progress: ProgressStatus = progress.unwrap_or_default();
            format!("{job}  {}", doing(&progress))
        }
        EventKind::Conflict => format!("{job}  conflict  {}", finding(&event.fields["conflict"])),
        EventKind::Error => format!("{job}  problem  {}", finding(&event.fields["problem"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: State, text: &str) -> JobStatus {
        let storage = |id: &str| StorageStatus {
            type_name: "local".to_owned(),
            backend_id: Some(id.to_owned()),
            location: Some(format!("/{id}")),
            watched: Some("poll every 10 s".to_owned()),
            worst_delay: Some(10.0),
        };
        JobStatus {
            job_id: "box:a:b".to_owned(),
            container_name: "box".to_owned(),
            state: (state, text.to_owned()),
            continuous: true,
            direction: "two-way".to_owned(),
            filters: None,
            source: storage("a"),
            target: storage("b"),
            progress: None,
            pending: None,
            done: wl_control::Totals::default(),
            last_agreement: Some(1000.0),
            last_look: Some(1000.0),
            next_try: None,
            conflict_count: 0,
            conflicts: Vec::new(),
            error_count: 0,
            errors: Vec::new(),
            failures: 0,
            panics: 0,
        }
    }

    #[test]
    fn a_job_in_sync_says_so_and_as_of_when() {
        let block = block(&job(State::Synced, "synced"), 1012.0);
        assert!(block.starts_with("box:a:b  SYNCED\n"), "{block}");
        assert!(block.contains("a (/a) <-> b (/b)"), "{block}");
        assert!(block.contains("as of 12 s ago"), "{block}");
        assert_eq!(exit(&job(State::Synced, "synced")), Exit::Done);
    }

    #[test]
    fn what_is_wrong_is_told_and_nothing_escapes_to_the_terminal() {
        let mut job = job(State::Running, "1 conflict left");
        job.conflict_count = 21;
        job.conflicts =
            vec![serde_json::json!({ "path": "a\u{1b}[2Jb", "reason": "both changed" })];
        let block = block(&job, 1012.0);
        assert!(block.contains("RUNNING: 1 conflict left"), "{block}");
        assert!(block.contains("and 20 more"), "{block}");
        assert!(!block.contains('\u{1b}'), "{block}");
        assert_eq!(exit(&job), Exit::Conflicts);
        job.error_count = 1;
        assert_eq!(exit(&job), Exit::Failed);
        assert_eq!(exit(&self::job(State::Paused, "why")), Exit::Failed);
    }

    #[test]
    fn how_a_storage_is_watched_says_how_late_a_change_may_be_seen() {
        let mut job = job(State::Synced, "synced");
        job.source.watched = Some("inotify".to_owned());
        job.source.worst_delay = Some(0.1);
        let block = block(&job, 1012.0);
        let told = "inotify, within 100 ms; poll every 10 s, within 10 s";
        assert!(block.contains(told), "{block}");
    }

    #[test]
    fn what_waits_is_named_with_how_long_it_may_take() {
        let mut job = job(State::Running, "1 conflict left, 3 changed paths wait");
        job.pending = Some(PendingStatus {
            count: 3,
            paths: vec!["log".to_owned(), "a\u{1b}b".to_owned()],
            anywhere: false,
            until: 1019.2,
        });
        let block = block(&job, 1012.0);
        let line = block.lines().find(|line| line.contains("waiting")).unwrap();
        assert!(line.contains("3 paths, up to 8 s: log, "), "{line}");
        assert!(line.ends_with(" and 1 more"), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
        job.pending.as_mut().unwrap().anywhere = true;
        let block = self::block(&job, 1012.0);
        assert!(
            block.contains("all of it: anything may have changed"),
            "{block}"
        );
    }

    #[test]
    fn a_job_that_was_attended_to_ends_as_it_stood() {
        let mut job = job(State::Running, "carrying out changes");
        assert_eq!(last_exit(&job), Exit::Failed, "not there yet");
        job.conflict_count = 1;
        assert_eq!(last_exit(&job), Exit::Conflicts);
        job.error_count = 1;
        assert_eq!(last_exit(&job), Exit::Failed);
        assert_eq!(last_exit(&self::job(State::Synced, "synced")), Exit::Done);
    }
}
