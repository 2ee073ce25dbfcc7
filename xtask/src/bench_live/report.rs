//! The figures as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::changes::Kind;
use super::options::Options;
use super::tools::Tool;
use crate::Result;
use crate::bench::figures;
use crate::bench::processes::Memory;

/// The rename of the burst's folder.
#[derive(Clone, Copy)]
pub struct Rename {
    pub seconds: f64,
    /// Bytes through system calls, until the tool rested.
    pub read: u64,
    pub written: u64,
    pub same_inodes: bool,
}

/// What it costs that a tool waits for changes.
pub struct Idle {
    pub cpu: f64,
    pub wakeups: u64,
    pub memory: Memory,
}

/// All figures of a tool.
#[derive(Default)]
struct Figures {
    settled: Option<f64>,
    /// Milliseconds.
    singles: BTreeMap<Kind, Vec<f64>>,
    /// Milliseconds that the disk alone took for a new file.
    disk: Vec<f64>,
    bursts: Vec<f64>,
    renames: Vec<Rename>,
    idle: Option<Idle>,
    untold: u64,
}

/// All figures of a benchmark.
pub struct Report {
    head: String,
    files: u64,
    burst: u64,
    seconds: u64,
    tools: Vec<Tool>,
    figures: BTreeMap<Tool, Figures>,
    troubles: Vec<(Tool, String)>,
    notes: Vec<String>,
}

/// A figure of a tool, if there is one.
type Of = Box<dyn Fn(&Figures) -> Option<f64>>;

/// A line of the table: its name, what it is of a tool, digits, the goal in words, and the most that meets it.
struct Line {
    name: String,
    value: Of,
    digits: usize,
    goal: Option<(&'static str, f64)>,
}

impl Report {
    pub fn new(options: &Options, dir: &Path) -> Self {
        let version = |tool: &Tool| format!("{} ({})", tool.name(), tool.version(options));
        let versions: Vec<String> = options.tools.iter().map(version).collect();
        let shape = options.shape;
        let head = format!(
            "`{}`, {}; {} files of about {} bytes in {} folders, {} round(s) of {} single changes; {}.",
            options.command,
            figures::surroundings(dir),
            shape.files,
            shape.size,
            shape.folders,
            options.rounds,
            options.changes,
            versions.join(", "),
        );
        let notes = options.tools.iter().filter_map(|tool| tool.note(options));
        Self {
            head,
            files: shape.files,
            burst: options.burst,
            seconds: options.idle,
            tools: options.tools.clone(),
            figures: BTreeMap::new(),
            troubles: Vec::new(),
            notes: notes.collect(),
        }
    }

    fn of(&mut self, tool: Tool) -> &mut Figures {
        self.figures.entry(tool).or_default()
    }

    pub fn settled(&mut self, tool: Tool, seconds: f64) {
        eprintln!("  settled after {seconds:.1} s");
        self.of(tool).settled = Some(seconds);
    }

    pub fn single(&mut self, tool: Tool, kind: Kind, ms: f64) {
        self.of(tool).singles.entry(kind).or_default().push(ms);
    }

    pub fn disk(&mut self, tool: Tool, ms: f64) {
        self.of(tool).disk.push(ms);
    }

    pub fn burst(&mut self, tool: Tool, seconds: f64) {
        eprintln!("  burst {seconds:.3} s");
        self.of(tool).bursts.push(seconds);
    }

    pub fn rename(&mut self, tool: Tool, rename: Rename) {
        eprintln!("  rename {:.3} s", rename.seconds);
        self.of(tool).renames.push(rename);
    }

    pub fn idle(&mut self, tool: Tool, idle: Idle) {
        self.of(tool).idle = Some(idle);
    }

    pub fn untold(&mut self, tool: Tool, times: u64) {
        self.of(tool).untold = times;
    }

    pub fn trouble(&mut self, tool: Tool, text: String) {
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
        let columns: Vec<&str> = self.tools.iter().map(|tool| tool.name()).collect();
        figures::begin_table(
            &mut text,
            &format!("{} files", self.files),
            &columns,
            "goal",
        );
        for line in self.lines() {
            let value = |tool: &Tool| self.figures.get(tool).and_then(&line.value);
            let cells = self
                .tools
                .iter()
                .map(|tool| figures::cell(value(tool), line.digits));
            let goal = line.goal.map_or(String::new(), |(words, most)| {
                figures::goal(
                    words.to_owned(),
                    value(&Tool::Wl).map(|value| value <= most),
                )
            });
            figures::row(&mut text, &line.name, &cells.collect::<Vec<_>>(), &goal);
        }
        text.push('\n');
        for (tool, trouble) in &self.troubles {
            let _ = writeln!(text, "- **{}: {trouble}**", tool.name());
        }
        for (tool, figures) in self
            .figures
            .iter()
            .filter(|(_, figures)| figures.untold > 0)
        {
            let (tool, times) = (tool.name(), figures.untold);
            let _ = writeln!(
                text,
                "- {tool}: {times} of the changes were found by a look, up to half a second late, and not by an event."
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        text
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = vec![
            single("p50", 0.5, Some(("15 ms", 15.0))),
            single("p99", 0.99, Some(("50 ms", 50.0))),
            single("max", 1.0, None),
        ];
        for kind in Kind::ALL {
            let value = move |figures: &Figures| share(figures.singles.get(&kind)?.clone(), 0.5);
            lines.push(line(format!("{}, p50, ms", kind.name()), value, 1, None));
        }
        for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
            let value = move |figures: &Figures| share(figures.disk.clone(), part);
            let name = format!("… the disk alone: a new file, synced, {name}, ms");
            lines.push(line(name, value, 1, None));
        }
        lines.extend(bursts(self.burst));
        lines.extend(rests(self.seconds));
        lines
    }

    /// The same for programs, with every single measurement.
    pub fn json(&self) -> Value {
        let tool = |tool: &Tool| {
            let default = Figures::default();
            let figures = self.figures.get(tool).unwrap_or(&default);
            let singles: serde_json::Map<String, Value> = figures
                .singles
                .iter()
                .map(|(kind, ms)| (kind.name().to_owned(), json!(ms)))
                .collect();
            let renames: Vec<Value> = figures.renames.iter().map(|rename| {
                json!({ "seconds": rename.seconds, "read": rename.read, "written": rename.written, "same-inodes": rename.same_inodes })
            }).collect();
            let idle = figures.idle.as_ref().map(|idle| {
                let Memory {
                    resident,
                    share,
                    anonymous,
                    peak,
                } = idle.memory;
                json!({
                    "seconds": self.seconds, "cpu": idle.cpu, "wakeups": idle.wakeups,
                    "mib": { "rss": resident, "pss": share, "anonymous": anonymous, "peak": peak },
                })
            });
            let of_tool = self.troubles.iter().filter(|trouble| trouble.0 == *tool);
            let troubles: Vec<&String> = of_tool.map(|trouble| &trouble.1).collect();
            let figures = json!({
                "settled": figures.settled, "singles-ms": singles, "disk-ms": figures.disk, "bursts": figures.bursts, "renames": renames,
                "idle": idle, "untold": figures.untold, "troubles": troubles,
            });
            (tool.name().to_owned(), figures)
        };
        let tools: serde_json::Map<String, Value> = self.tools.iter().map(tool).collect();
        json!({ "head": self.head, "files": self.files, "burst": self.burst, "tools": tools })
    }
}

fn line(
    name: String,
    value: impl Fn(&Figures) -> Option<f64> + 'static,
    digits: usize,
    goal: Option<(&'static str, f64)>,
) -> Line {
    Line {
        name,
        value: Box::new(value),
        digits,
        goal,
    }
}

fn single(name: &str, part: f64, goal: Option<(&'static str, f64)>) -> Line {
    let value =
        move |figures: &Figures| share(figures.singles.values().flatten().copied().collect(), part);
    line(format!("one change, {name}, ms"), value, 1, goal)
}

/// The burst and the rename of its folder.
fn bursts(files: u64) -> Vec<Line> {
    let burst = |figures: &Figures| figures::median(figures.bursts.iter().copied());
    let of = |name: &str, value: fn(&Rename) -> f64, digits, goal| {
        let median = move |figures: &Figures| figures::median(figures.renames.iter().map(value));
        line(name.to_owned(), median, digits, goal)
    };
    let title = format!("{files} new files, s after the last");
    let renamed = format!("rename of a folder of {files}, s");
    let content = Some(("no content", content(files)));
    let stayed = |rename: &Rename| f64::from(u8::from(rename.same_inodes)) * 100.0;
    vec![
        line(title, burst, 3, Some(("0.5 s", 0.5))),
        of(&renamed, |rename| rename.seconds, 3, Some(("0.1 s", 0.1))),
        of("… MiB read", |rename| mib_of(rename.read), 2, content),
        of("… MiB written", |rename| mib_of(rename.written), 2, content),
        of("… inodes stayed, % of rounds", stayed, 0, None),
    ]
}

/// What it costs to wait.
fn rests(seconds: u64) -> Vec<Line> {
    let of = |name: &str, value: fn(&Idle) -> f64, digits, goal| {
        let idle = move |figures: &Figures| figures.idle.as_ref().map(value);
        line(name.to_owned(), idle, digits, goal)
    };
    let idle = format!("idle for {seconds} s, s of CPU");
    // 0.00 in ten seconds.
    let rest = Some(("as lsyncd", 0.0005 * seconds as f64));
    let most = Some(("under 96 MiB", 96.0));
    vec![
        of(&idle, |idle| idle.cpu, 2, rest),
        of("… times woken", |idle| idle.wakeups as f64, 0, None),
        of("memory (PSS), MiB", |idle| idle.memory.share, 1, most),
        of("memory (RSS), MiB", |idle| idle.memory.resident, 1, None),
        of(
            "most memory ever (RSS), MiB",
            |idle| idle.memory.peak,
            1,
            most,
        ),
        line(
            "until it follows, s".to_owned(),
            |figures: &Figures| figures.settled,
            1,
            None,
        ),
    ]
}

/// The smallest value that so large a part of them does not exceed.
fn share(mut values: Vec<f64>, part: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * part).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied()
}

fn mib_of(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Half of the burst's content in MiB: less than this is names and records.
fn content(files: u64) -> f64 {
    mib_of(files * 4000) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_shares_goals_and_troubles() {
        let args = ["--tools", "wl,lsyncd", "--idle", "7"].map(str::to_owned);
        let mut report = Report::new(&Options::parse(&args).unwrap(), Path::new("/"));
        for ms in 1..=200 {
            report.single(Tool::Wl, Kind::ALL[ms % 4], ms as f64 / 10.0);
        }
        let rename = Rename {
            seconds: 0.2,
            read: 1 << 20,
            written: 30 << 20,
            same_inodes: true,
        };
        report.rename(Tool::Wl, rename);
        for ms in [3.0, 1.0, 2.0] {
            report.disk(Tool::Wl, ms);
        }
        report.burst(Tool::Lsyncd, 0.5);
        let text = report.markdown();
        for row in [
            "| one change, p50, ms | 10.0 | — | 15 ms: met |",
            "| one change, p99, ms | 19.8 | — | 50 ms: met |",
            "| one change, max, ms | 20.0 | — |  |",
            "| … the disk alone: a new file, synced, p50, ms | 2.0 | — |  |",
            "| 5000 new files, s after the last | — | 0.500 | 0.5 s |",
            "| rename of a folder of 5000, s | 0.200 | — | 0.1 s: **missed** |",
            "| … MiB read | 1.00 | — | no content: met |",
            "| … MiB written | 30.00 | — | no content: **missed** |",
        ] {
            assert!(text.contains(row), "{row}\n{text}");
        }
        report.trouble(Tool::Lsyncd, "it fell over".to_owned());
        assert!(report.markdown().contains("- **lsyncd: it fell over**"));
        assert!(report.verdict().is_ok(), "only wl's own troubles count");
        report.trouble(Tool::Wl, "so did this".to_owned());
        assert!(report.verdict().is_err());
        let json = report.json();
        assert_eq!(
            json["tools"]["wl"]["singles-ms"]["edit"]
                .as_array()
                .unwrap()
                .len(),
            50
        );
        assert_eq!(json["tools"]["lsyncd"]["bursts"], json!([0.5]));
    }
}
