//! What all the histories came to, as a table.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::history::Seeds;
use super::judge::{Fault, Verdict};
use super::options::Options;
use super::remote::Target;
use super::tools::Tool;
use crate::bench::figures::{begin_table, row, surroundings};

/// So many findings of a kind are shown with their command.
const SHOWN: usize = 2;

/// A history that went wrong.
pub struct Finding {
    pub fault: Fault,
    pub what: String,
    pub replay: String,
}

#[derive(Default)]
struct Score {
    histories: u32,
    kills: u32,
    conflicts: usize,
    /// How many versions or paths, and in how many histories.
    counts: BTreeMap<Fault, (usize, u32)>,
    findings: Vec<Finding>,
    /// What could not be judged.
    trouble: Vec<String>,
}

/// What became of the histories of all tools.
#[derive(Default)]
pub struct Report {
    scores: BTreeMap<Tool, Score>,
}

/// The command that plays a history again.
pub fn replay(tool: Tool, seeds: Seeds, options: &Options, keep: Option<&[usize]>) -> String {
    let Seeds { workload, schedule } = seeds;
    let mut line = format!(
        "cargo xtask compare --tools {} --workload {workload} --schedule {schedule}",
        tool.name()
    );
    if options.plain {
        line.push_str(" --plain");
    }
    if options.target != Target::Local {
        let _ = write!(line, " --target {}", options.target.name());
    }
    if !options.delay.is_zero() {
        let _ = write!(line, " --delay {}", options.delay.as_millis());
    }
    if let Some(keep) = keep {
        let keep: Vec<String> = keep.iter().map(usize::to_string).collect();
        let keep = if keep.is_empty() {
            "none".to_owned()
        } else {
            keep.join(",")
        };
        let _ = write!(line, " --keep {keep}");
    }
    line
}

impl Report {
    pub fn judged(&mut self, tool: Tool, verdict: &Verdict) {
        let score = self.scores.entry(tool).or_default();
        score.histories += 1;
        score.kills += verdict.kills;
        score.conflicts += verdict.conflicts;
        for fault in Fault::ALL {
            let count = verdict.count(fault);
            let total = score.counts.entry(fault).or_default();
            total.0 += count;
            total.1 += u32::from(count > 0);
        }
    }

    /// Whether another finding of this kind is to be shown.
    pub fn wants(&self, tool: Tool, fault: Fault) -> bool {
        let score = self.scores.get(&tool);
        let findings = score.into_iter().flat_map(|score| &score.findings);
        findings.filter(|finding| finding.fault == fault).count() < SHOWN
    }

    pub fn found(&mut self, tool: Tool, finding: Finding) {
        let score = self.scores.entry(tool).or_default();
        score.findings.push(finding);
    }

    pub fn trouble(&mut self, tool: Tool, trouble: String) {
        let score = self.scores.entry(tool).or_default();
        score.trouble.push(trouble);
    }

    pub fn markdown(&self, options: &Options) -> String {
        let mut text = format!("`{}`, {}.\n\n", options.command, surroundings(&options.dir));
        let columns = [
            "histories",
            "kills",
            "versions lost",
            "torn",
            "only in its trash",
            "came back",
            "conflicts",
            "needed a person",
            "ended unequal",
            "no rest",
            "said synced, was not",
        ];
        begin_table(&mut text, "tool", &columns, "version");
        for (tool, score) in &self.scores {
            let both = |fault: Fault| match score.counts.get(&fault) {
                Some((count, histories)) if *count > 0 => format!("{count} in {histories}"),
                _ => "0".to_owned(),
            };
            let histories = |fault: Fault| {
                score
                    .counts
                    .get(&fault)
                    .map_or(0, |found| found.1)
                    .to_string()
            };
            let cells = [
                score.histories.to_string(),
                score.kills.to_string(),
                both(Fault::Lost),
                both(Fault::Torn),
                both(Fault::Trashed),
                both(Fault::Returned),
                score.conflicts.to_string(),
                histories(Fault::Human),
                histories(Fault::Unequal),
                histories(Fault::Restless),
                histories(Fault::Lied),
            ];
            row(&mut text, tool.name(), &cells, &tool.version(options));
        }
        self.findings(&mut text);
        text
    }

    fn findings(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\nFindings, with the command that plays each again:\n"
        );
        for (tool, score) in &self.scores {
            for finding in &score.findings {
                let (name, what) = (tool.name(), &finding.what);
                let fault = finding.fault.name();
                let _ = writeln!(text, "- {name}, {fault}: {what}\n  `{}`", finding.replay);
            }
            for trouble in score.trouble.iter().take(SHOWN) {
                let _ = writeln!(text, "- {}: not judged: {trouble}", tool.name());
            }
            if score.trouble.len() > SHOWN {
                let _ = writeln!(
                    text,
                    "- {}: {} histories were not judged",
                    tool.name(),
                    score.trouble.len()
                );
            }
        }
        let _ = writeln!(text, "\nHow each ran:\n");
        for tool in self.scores.keys() {
            let _ = writeln!(text, "- {}: {}", tool.name(), tool.settings());
        }
    }

    /// A version of wl's that is lost is a failure of ours.
    pub fn verdict(&self) -> crate::Result<()> {
        let bad = [
            Fault::Lost,
            Fault::Torn,
            Fault::Lied,
            Fault::Unequal,
            Fault::Restless,
            Fault::Human,
            Fault::Trashed,
        ];
        let wrong = self.scores.iter().filter(|(tool, score)| {
            let found = bad
                .iter()
                .any(|fault| score.counts.get(fault).is_some_and(|found| found.0 > 0));
            tool.is_wl() && (found || !score.trouble.is_empty())
        });
        match wrong.count() {
            0 => Ok(()),
            _ => Err("wl did something wrong: see its findings".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_shown_with_its_command() {
        let seeds = Seeds {
            workload: 3,
            schedule: 4,
        };
        let args = ["--plain", "--target", "sftp", "--delay", "20"].map(str::to_owned);
        let options = Options::parse(&args).unwrap();
        let mut report = Report::default();
        let mut verdict = Verdict::default();
        verdict.add(Fault::Lost, "A:one/ant");
        report.judged(Tool::Wl, &verdict);
        assert!(report.wants(Tool::Wl, Fault::Lost) && report.verdict().is_err());
        let finding = Finding {
            fault: Fault::Lost,
            what: "A:one/ant".into(),
            replay: replay(Tool::Wl, seeds, &options, Some(&[0, 2])),
        };
        report.found(Tool::Wl, finding);
        let text = report.markdown(&options);
        assert!(text.contains("| wl | 1 | 0 | 1 in 1 | 0 |"), "{text}");
        assert!(
            text.contains(
                "--tools wl --workload 3 --schedule 4 --plain --target sftp --delay 20 --keep 0,2`"
            ),
            "{text}"
        );
    }
}
