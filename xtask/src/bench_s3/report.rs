//! The figures as tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::options::Options;
use super::requests::{Counts, Kind};
use super::tools::{Phase, Tool};
use crate::Result;
use crate::bench::figures::{self, Sample, cell};

/// The most memory that wl may take.
const PEAK_GOAL_MIB: f64 = 96.0;

/// All figures of a benchmark.
pub struct Report {
    tools: Vec<Tool>,
    head: String,
    what: String,
    samples: BTreeMap<(Tool, Phase), Vec<Sample>>,
    requests: BTreeMap<(Phase, Tool), Counts>,
    /// What was done wrongly is no measure for anybody.
    wrong: BTreeSet<(Tool, Phase)>,
    troubles: Vec<(Tool, String)>,
    notes: Vec<String>,
}

impl Report {
    pub fn new(options: &Options, tools: &[Tool], versions: &[String]) -> Self {
        let large = options.large.map(|mib| format!("; one of {mib} MiB"));
        let head = format!(
            "`{}`, {}; medians of {} rounds; {}.",
            options.command,
            figures::surroundings(&options.dir),
            options.rounds,
            versions.join(", "),
        );
        let what = format!(
            "{} objects of about {} KiB{}",
            options.shape.files,
            options.shape.size >> 10,
            large.unwrap_or_default(),
        );
        Self {
            tools: tools.to_vec(),
            head,
            what,
            samples: BTreeMap::new(),
            requests: BTreeMap::new(),
            wrong: BTreeSet::new(),
            troubles: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub fn measured(&mut self, tool: Tool, phase: Phase, sample: Sample) {
        self.samples.entry((tool, phase)).or_default().push(sample);
    }

    pub fn requests(&mut self, tool: Tool, phase: Phase, counts: Counts) {
        self.requests.insert((phase, tool), counts);
    }

    pub fn wrong(&mut self, tool: Tool, phase: Phase, how: &str) {
        self.wrong.insert((tool, phase));
        let text = format!("{}, \"{}\": {how}", tool.title(), phase.name());
        eprintln!("  {text}");
        if !self.troubles.contains(&(tool, text.clone())) {
            self.troubles.push((tool, text));
        }
    }

    /// An error if wl itself failed: its figures are worth nothing then.
    pub fn verdict(&self) -> Result<()> {
        match self.troubles.iter().find(|(tool, _)| *tool == Tool::Wl) {
            Some((_, trouble)) => Err(trouble.clone().into()),
            None => Ok(()),
        }
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("{}\n\n", self.head);
        let seconds = |tool, phase| self.median(tool, phase, |sample| sample.seconds);
        let peak = |tool, phase| self.median(tool, phase, Sample::peak_mib);
        self.table(&mut text, "Seconds", &seconds, 3, |_, ratio| {
            let goal = "at most the best peer".to_owned();
            figures::goal(goal, ratio.map(|ratio| ratio <= 1.0))
        });
        self.table(&mut text, "Peak memory in MiB", &peak, 1, |wl, _| {
            let goal = format!("under {PEAK_GOAL_MIB} MiB");
            figures::goal(goal, wl.map(|wl| wl < PEAK_GOAL_MIB))
        });
        self.table_of_requests(&mut text);
        for (_, trouble) in &self.troubles {
            let _ = writeln!(text, "- **{trouble}**");
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text
    }

    /// A table with a row a step and a column a tool, wl's share of the best peer's figure and the goal.
    fn table(
        &self,
        text: &mut String,
        title: &str,
        value: &dyn Fn(Tool, Phase) -> Option<f64>,
        digits: usize,
        goal: impl Fn(Option<f64>, Option<f64>) -> String,
    ) {
        let mut columns: Vec<&str> = self.tools.iter().map(|tool| tool.title()).collect();
        columns.push("wl / best peer");
        let title = format!("{title}, {}", self.what);
        figures::begin_table(text, &title, &columns, "goal");
        for phase in Phase::ALL {
            let cell_of = |tool: &Tool| {
                let wrong = self.wrong.contains(&(*tool, phase));
                cell(value(*tool, phase), digits) + if wrong { " (wrong)" } else { "" }
            };
            let mut cells: Vec<String> = self.tools.iter().map(cell_of).collect();
            if self.tools.iter().all(|tool| value(*tool, phase).is_none()) {
                continue;
            }
            let wl = value(Tool::Wl, phase);
            let best = self.best_peer(phase, value);
            let ratio = wl.zip(best).map(|(wl, (_, best))| wl / best);
            let peer = best.map_or("", |(peer, _)| peer.name());
            cells.push(format!("{} ({peer})", cell(ratio, 2)));
            figures::row(text, phase.name(), &cells, &goal(wl, ratio));
        }
        text.push('\n');
    }

    fn best_peer(
        &self,
        phase: Phase,
        value: &dyn Fn(Tool, Phase) -> Option<f64>,
    ) -> Option<(Tool, f64)> {
        let is_peer = |tool: &Tool| *tool != Tool::Wl && !self.wrong.contains(&(*tool, phase));
        let peers = self.tools.iter().copied().filter(is_peer);
        let values = peers.filter_map(|tool| Some((tool, value(tool, phase)?)));
        values.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn table_of_requests(&self, text: &mut String) {
        let asked = |kind: &Kind| {
            self.requests
                .values()
                .any(|counts| counts.contains_key(kind))
        };
        let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(asked).collect();
        if kinds.is_empty() {
            return;
        }
        let mut columns = vec!["all"];
        columns.extend(kinds.iter().map(|kind| kind.name()));
        figures::begin_table(text, "Requests", &columns, "tool");
        for ((phase, tool), counts) in &self.requests {
            let count = |kind| counts.get(kind).copied().unwrap_or_default();
            let mut cells = vec![counts.values().sum::<u64>().to_string()];
            cells.extend(kinds.iter().map(|kind| count(kind).to_string()));
            figures::row(text, phase.name(), &cells, tool.title());
        }
        text.push('\n');
    }

    fn median(&self, tool: Tool, phase: Phase, value: impl Fn(&Sample) -> f64) -> Option<f64> {
        figures::median(self.samples.get(&(tool, phase))?.iter().map(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let tools = [Tool::Wl, Tool::Rclone, Tool::S5cmd];
        let mut report = Report::new(&Options::parse(&[]).unwrap(), &tools, &[]);
        for (tool, seconds, mib) in [
            (Tool::Wl, 2.0, 95),
            (Tool::Rclone, 4.0, 50),
            (Tool::S5cmd, 1.0, 100),
        ] {
            let peak_kib = mib * 1024;
            report.measured(tool, Phase::Up, Sample { seconds, peak_kib });
        }
        report
    }

    #[test]
    fn wl_is_held_against_the_best_peer_that_is_right() {
        let mut report = report();
        let row = "| up into nothing | 2.000 | 4.000 | 1.000 | 2.00 (s5cmd) | at most the best peer: **missed** |";
        let text = report.markdown();
        assert!(text.contains(row), "{text}");
        assert!(text.contains("under 96 MiB: met"), "{text}");
        report.wrong(Tool::S5cmd, Phase::Up, "3 only here");
        let row = "| up into nothing | 2.000 | 4.000 | 1.000 (wrong) | 0.50 (rclone) | at most the best peer: met |";
        let text = report.markdown();
        assert!(text.contains(row), "{text}");
        assert!(text.contains("**s5cmd sync, \"up into nothing\": 3 only here**"));
        assert!(report.verdict().is_ok());
        report.wrong(Tool::Wl, Phase::Up, "1 only here");
        assert!(report.verdict().is_err());
    }

    #[test]
    fn only_kinds_that_were_asked_for_have_a_column() {
        let mut report = report();
        let counts = Counts::from([(Kind::Put, 3), (Kind::List, 2)]);
        report.requests(Tool::Wl, Phase::Up, counts);
        let text = report.markdown();
        assert!(
            text.contains("| Requests | all | LIST | PUT | tool |"),
            "{text}"
        );
        assert!(
            text.contains("| up into nothing | 5 | 2 | 3 | wl sync |"),
            "{text}"
        );
    }
}
