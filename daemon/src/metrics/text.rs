//! Metrics as Prometheus reads them: text, one value a line.

use std::fmt::{Display, Write};

use wl_control::State;

use crate::jobs::Figures;

/// What is counted of the daemon.
pub(super) struct Daemon<'a> {
    pub(super) version: &'a str,
    /// Seconds.
    pub(super) uptime: f64,
    pub(super) connections: u64,
    pub(super) requests: u64,
    pub(super) refused: u64,
    pub(super) events: u64,
}

/// The whole text.
pub(super) fn of(daemon: &Daemon<'_>, jobs: &[Figures]) -> String {
    let mut text = Text::default();
    text.family("wl_info", "gauge", "The daemon's version");
    text.value("wl_info", &[("version", daemon.version)], 1);
    text.single(
        "wl_uptime_seconds",
        "gauge",
        "Time since the daemon began",
        daemon.uptime,
    );
    for (name, help, value) in [
        (
            "wl_connections_total",
            "Clients that connected",
            daemon.connections,
        ),
        (
            "wl_requests_total",
            "Requests that were answered",
            daemon.requests,
        ),
        (
            "wl_requests_refused_total",
            "Requests that were answered with an error",
            daemon.refused,
        ),
        ("wl_events_total", "Events that were told", daemon.events),
    ] {
        text.single(name, "counter", help, value);
    }
    text.family("wl_jobs", "gauge", "Jobs, by state");
    for state in State::ALL {
        let count = jobs.iter().filter(|job| job.state == state).count();
        text.value("wl_jobs", &[("state", state.name())], count);
    }
    of_jobs(&mut text, jobs);
    text.0
}

type Value = fn(&Figures) -> Option<f64>;

/// What is said of each job: name, type, help, value.
const OF_JOBS: [(&str, &str, &str, Value); 9] = [
    (
        "wl_job_last_agreement_timestamp_seconds",
        "gauge",
        "When both sides were last found equal",
        |job| job.last_agreement,
    ),
    (
        "wl_job_last_look_timestamp_seconds",
        "gauge",
        "When the last look at the storages ended",
        |job| job.last_look,
    ),
    (
        "wl_job_looks_total",
        "counter",
        "Looks at the storages",
        |job| Some(job.totals.looks as f64),
    ),
    (
        "wl_job_read_bytes_total",
        "counter",
        "Bytes of content read",
        |job| Some(job.totals.bytes_read as f64),
    ),
    (
        "wl_job_written_bytes_total",
        "counter",
        "Bytes of content written",
        |job| Some(job.totals.bytes_written as f64),
    ),
    ("wl_job_conflicts", "gauge", "Open conflicts", |job| {
        Some(job.conflicts as f64)
    }),
    (
        "wl_job_problems",
        "gauge",
        "Paths that the last look failed on",
        |job| Some(job.problems as f64),
    ),
    (
        "wl_job_failures",
        "gauge",
        "Runs in a row that failed as a whole",
        |job| Some(f64::from(job.failures)),
    ),
    (
        "wl_job_panics_total",
        "counter",
        "Faults in wl that ended a run",
        |job| Some(f64::from(job.panics)),
    ),
];

fn of_jobs(text: &mut Text, jobs: &[Figures]) {
    text.family(
        "wl_job_state",
        "gauge",
        "1 for the state that a job is in, 0 for all others",
    );
    for job in jobs {
        for state in State::ALL {
            let is = u8::from(job.state == state);
            text.of_job("wl_job_state", job, &[("state", state.name())], is);
        }
    }
    let name = "wl_job_changes_total";
    text.family(
        name,
        "counter",
        "Entries created, updated, removed or renamed",
    );
    for job in jobs {
        text.of_job(name, job, &[("side", "source")], job.totals.source_changes);
        text.of_job(name, job, &[("side", "target")], job.totals.target_changes);
    }
    for (name, kind, help, value) in OF_JOBS {
        text.family(name, kind, help);
        for job in jobs {
            // What is not known yet is left out.
            if let Some(value) = value(job) {
                text.of_job(name, job, &[], value);
            }
        }
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.value(name, &[], value);
    }

    fn of_job(&mut self, name: &str, job: &Figures, more: &[(&str, &str)], value: impl Display) {
        let mut labels = vec![("job", &*job.job_id), ("container", &*job.container_name)];
        labels.extend(more);
        self.value(name, &labels, value);
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

/// A label's value, as the form wants it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use wl_control::Totals;

    use super::*;

    fn job(id: &str) -> Figures {
        Figures {
            job_id: id.to_owned(),
            container_name: "box".to_owned(),
            state: State::Synced,
            last_agreement: None,
            last_look: Some(1_700_000_000.25),
            totals: Totals {
                looks: 1,
                source_changes: 2,
                target_changes: 3,
                bytes_read: 1 << 50,
                bytes_written: 5,
            },
            conflicts: 6,
            problems: 7,
            failures: 8,
            panics: 9,
        }
    }

    fn text(jobs: &[Figures]) -> String {
        let daemon = Daemon {
            version: "1.2.3",
            uptime: 1.5,
            connections: 10,
            requests: 11,
            refused: 12,
            events: 13,
        };
        of(&daemon, jobs)
    }

    #[test]
    fn every_figure_has_its_line() {
        let text = text(&[job("j")]);
        for line in [
            "wl_info{version=\"1.2.3\"} 1",
            "wl_uptime_seconds 1.5",
            "wl_connections_total 10",
            "wl_requests_total 11",
            "wl_requests_refused_total 12",
            "wl_events_total 13",
            "wl_jobs{state=\"SYNCED\"} 1",
            "wl_jobs{state=\"ERROR\"} 0",
            "wl_job_state{job=\"j\",container=\"box\",state=\"SYNCED\"} 1",
            "wl_job_state{job=\"j\",container=\"box\",state=\"PAUSED\"} 0",
            "wl_job_changes_total{job=\"j\",container=\"box\",side=\"source\"} 2",
            "wl_job_changes_total{job=\"j\",container=\"box\",side=\"target\"} 3",
            "wl_job_last_look_timestamp_seconds{job=\"j\",container=\"box\"} 1700000000.25",
            "wl_job_looks_total{job=\"j\",container=\"box\"} 1",
            "wl_job_read_bytes_total{job=\"j\",container=\"box\"} 1125899906842624",
            "wl_job_written_bytes_total{job=\"j\",container=\"box\"} 5",
            "wl_job_conflicts{job=\"j\",container=\"box\"} 6",
            "wl_job_problems{job=\"j\",container=\"box\"} 7",
            "wl_job_failures{job=\"j\",container=\"box\"} 8",
            "wl_job_panics_total{job=\"j\",container=\"box\"} 9",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        assert!(!text.contains("agreement_timestamp_seconds{"), "{text}");
    }

    #[test]
    fn labels_cannot_break_out_and_families_stand_together() {
        let text = text(&[job("a\"} 1\nevil{x=\"\\"), job("é\r\tb")]);
        assert!(text.contains(r#"job="a\"} 1\nevil{x=\"\\","#), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("evil")));
        let mut known: Vec<&str> = Vec::new();
        for line in text.split('\n').filter(|line| !line.is_empty()) {
            let words: Vec<&str> = line.split([' ', '{']).collect();
            match words[..] {
                ["#", "HELP", name, ..] => {
                    assert!(!known.contains(&name), "{name} stands twice");
                    known.push(name);
                }
                ["#", "TYPE", name, ..] | [name, ..] => assert_eq!(known.last(), Some(&name)),
                [] => unreachable!(),
            }
        }
    }
}
