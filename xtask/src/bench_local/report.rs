//! The figures as a table.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::options::Options;
use super::tools::{Phase, Tool};
use crate::Result;
use crate::bench::figures::{self, Sample};
use crate::bench::tree::Shape;

/// The most memory that wl may take.
const PEAK_GOAL_MIB: f64 = 48.0;

/// All figures of a benchmark.
pub struct Report {
    tools: Vec<Tool>,
    head: String,
    shape: Shape,
    scale: Option<u64>,
    samples: BTreeMap<(Tool, Phase), Vec<Sample>>,
    scaled: BTreeMap<(Tool, Phase), Sample>,
    syscalls: BTreeMap<(Tool, Phase), u64>,
    troubles: Vec<(Tool, String)>,
    notes: Vec<&'static str>,
}

impl Report {
    pub fn new(options: &Options) -> Self {
        Self {
            tools: options.tools.clone(),
            head: head(options),
            shape: options.shape,
            scale: options.scale,
            samples: BTreeMap::new(),
            scaled: BTreeMap::new(),
            syscalls: BTreeMap::new(),
            troubles: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub fn note(&mut self, note: &'static str) {
        self.notes.push(note);
    }

    pub fn measured(&mut self, tool: Tool, phase: Phase, sample: Sample) {
        self.samples.entry((tool, phase)).or_default().push(sample);
    }

    pub fn scaled(&mut self, tool: Tool, phase: Phase, sample: Sample) {
        self.scaled.insert((tool, phase), sample);
    }

    pub fn syscalls(&mut self, tool: Tool, phase: Phase, calls: u64) {
        self.syscalls.insert((tool, phase), calls);
    }

    pub fn failed(&mut self, tool: Tool, phase: Phase, error: &str) {
        self.trouble(
            tool,
            format!("{} failed at \"{}\": {error}", tool.title(), phase.name()),
        );
    }

    pub fn compared(&mut self, tool: Tool, phase: Phase, equal: bool) {
        if !equal {
            let step = phase.name();
            self.trouble(
                tool,
                format!(
                    "{}: source and target differ after \"{step}\"",
                    tool.title()
                ),
            );
        }
    }

    fn trouble(&mut self, tool: Tool, text: String) {
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
        let Shape {
            files,
            folders,
            size,
        } = self.shape;
        let tree = format!("{files} files of about {size} bytes in {folders} folders");
        let seconds = |tool, phase| self.median(tool, phase, |sample| sample.seconds);
        let peak = |tool, phase| self.median(tool, phase, Sample::peak_mib);
        self.table(
            &mut text,
            &format!("Seconds, {tree}"),
            &seconds,
            3,
            Goal::OfRsync,
        );
        self.table(
            &mut text,
            &format!("Peak memory in MiB, {tree}"),
            &peak,
            1,
            Goal::Peak,
        );
        if let Some(files) = self.scale {
            let sample = |tool, phase| self.scaled.get(&(tool, phase)).copied();
            let seconds = |tool, phase| Some(sample(tool, phase)?.seconds);
            let peak = |tool, phase| Some(sample(tool, phase)?.peak_mib());
            self.table(
                &mut text,
                &format!("Peak memory in MiB, {files} small files"),
                &peak,
                1,
                Goal::Peak,
            );
            self.table(
                &mut text,
                &format!("Seconds, {files} small files, one run"),
                &seconds,
                1,
                Goal::None,
            );
        }
        if !self.syscalls.is_empty() {
            let calls = |tool, phase| self.syscalls.get(&(tool, phase)).map(|calls| *calls as f64);
            self.table(
                &mut text,
                &format!("System calls, {tree}"),
                &calls,
                0,
                Goal::None,
            );
        }
        for (_, trouble) in &self.troubles {
            let _ = writeln!(text, "- **{trouble}**");
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text
    }

    /// A table with a row a step and a column a tool, wl's share of rsync's figure and the goal.
    fn table(
        &self,
        text: &mut String,
        title: &str,
        value: &dyn Fn(Tool, Phase) -> Option<f64>,
        digits: usize,
        goal: Goal,
    ) {
        let with_values = |tool: &&Tool| {
            Phase::ALL
                .iter()
                .any(|phase| value(**tool, *phase).is_some())
        };
        let tools: Vec<Tool> = self.tools.iter().filter(with_values).copied().collect();
        let mut columns: Vec<&str> = tools.iter().map(|tool| tool.title()).collect();
        columns.push("wl / rsync");
        figures::begin_table(text, title, &columns, "goal");
        for phase in Phase::ALL {
            let cell = |tool: &Tool| figures::cell(value(*tool, phase), digits);
            let mut cells: Vec<String> = tools.iter().map(cell).collect();
            let (wl, rsync) = (value(Tool::Wl, phase), value(Tool::Rsync, phase));
            let ratio = wl.zip(rsync).map(|(wl, rsync)| wl / rsync);
            cells.push(figures::cell(ratio, 2));
            figures::row(text, phase.name(), &cells, &goal.text(phase, wl, ratio));
        }
        text.push('\n');
    }

    fn median(&self, tool: Tool, phase: Phase, value: impl Fn(&Sample) -> f64) -> Option<f64> {
        figures::median(self.samples.get(&(tool, phase))?.iter().map(value))
    }
}

/// What a table is held against.
#[derive(Clone, Copy)]
enum Goal {
    OfRsync,
    Peak,
    None,
}

impl Goal {
    fn text(self, phase: Phase, wl: Option<f64>, ratio: Option<f64>) -> String {
        let (goal, met) = match self {
            Goal::OfRsync => {
                let goal = phase.goal();
                (
                    format!("at most {goal:.1} of rsync"),
                    ratio.map(|ratio| ratio <= goal),
                )
            }
            Goal::Peak => (
                format!("under {PEAK_GOAL_MIB} MiB"),
                wl.map(|wl| wl < PEAK_GOAL_MIB),
            ),
            Goal::None => return String::new(),
        };
        figures::goal(goal, met)
    }
}

/// What was measured, on what.
fn head(options: &Options) -> String {
    let versions: Vec<String> = options
        .tools
        .iter()
        .map(|tool| format!("{} ({})", tool.title(), tool.version(options)))
        .collect();
    format!(
        "`{}`, {}; medians of {} rounds; {}.",
        options.command,
        figures::surroundings(&options.dir),
        options.rounds,
        versions.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_medians_ratios_and_goals() {
        let options = Options::parse(&["--tools".to_owned(), "wl,cp,rsync".to_owned()]).unwrap();
        let mut report = Report::new(&options);
        for (tool, seconds) in [(Tool::Wl, [9.0, 1.0, 2.0]), (Tool::Rsync, [4.0, 4.0, 1.0])] {
            for seconds in seconds {
                let sample = Sample {
                    seconds,
                    peak_kib: 50 * 1024,
                };
                report.measured(tool, Phase::First, sample);
            }
        }
        let text = report.markdown();
        let row = "| first sync, empty target | 2.000 | 4.000 | 0.50 | at most 1.0 of rsync: met |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("under 48 MiB: **missed**"), "{text}");
        assert!(report.verdict().is_ok());
        report.compared(Tool::Wl, Phase::First, false);
        assert!(report.verdict().is_err());
    }
}
