//! Figures, tables of them and where they are written.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::run::{output, workspace};

/// One run of a command.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub seconds: f64,
    pub peak_kib: u64,
}

impl Sample {
    pub fn peak_mib(&self) -> f64 {
        self.peak_kib as f64 / 1024.0
    }
}

pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => Some((values.get(middle.checked_sub(1)?)? + values[middle]) / 2.0),
        _ => values.get(middle).copied(),
    }
}

/// A table's cell.
pub fn cell(value: Option<f64>, digits: usize) -> String {
    value.map_or("—".to_owned(), |value| format!("{value:.digits$}"))
}

/// A goal and whether it is met, if that is known.
pub fn goal(goal: String, met: Option<bool>) -> String {
    match met {
        Some(true) => format!("{goal}: met"),
        Some(false) => format!("{goal}: **missed**"),
        None => goal,
    }
}

/// Begins a table: a column of words, columns of figures, a column of words.
pub fn begin_table(text: &mut String, first: &str, figures: &[&str], last: &str) {
    let _ = writeln!(text, "| {first} | {} | {last} |", figures.join(" | "));
    let _ = writeln!(text, "|---|{}---|", "---:|".repeat(figures.len()));
}

/// A row of such a table.
pub fn row(text: &mut String, first: &str, figures: &[String], last: &str) {
    let _ = writeln!(text, "| {first} | {} | {last} |", figures.join(" | "));
}

/// The machine and the day, in one line.
pub fn surroundings(dir: &Path) -> String {
    let told = |program: &str, args: &[&str]| {
        let told = output(Command::new(program).args(args)).unwrap_or_default();
        told.trim().to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = told("uname", &["-sr"]);
    let date = told("date", &["+%Y-%m-%d"]);
    format!("{date}, {kernel}, {cores} cores, {}", dir.display())
}

/// Puts the figures of a benchmark between its markers in docs/performance.md.
pub fn write_to_docs(benchmark: &str, figures: &str) -> Result<()> {
    write_to("docs/performance.md", benchmark, figures)
}

/// Puts figures between their markers in a file of the workspace.
pub fn write_to(file: &str, markers: &str, figures: &str) -> Result<()> {
    let path = workspace().join(file);
    let text = fs::read_to_string(&path)?;
    let text = between_markers(&text, markers, figures)
        .ok_or_else(|| format!("{file} has no markers {markers}"))?;
    fs::write(&path, text)?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

fn between_markers(text: &str, benchmark: &str, figures: &str) -> Option<String> {
    let (begin, end) = (
        format!("<!-- {benchmark}:begin -->"),
        format!("<!-- {benchmark}:end -->"),
    );
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    let figures = figures.trim();
    Some(format!("{before}{begin}\n\n{figures}\n\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_go_between_the_markers_of_their_benchmark() {
        let text = "a\n<!-- x:begin -->\nother\n<!-- x:end -->\n<!-- y:begin -->\nold\n<!-- y:end -->\nb\n";
        let new = between_markers(text, "y", "new\n").unwrap();
        let written = "a\n<!-- x:begin -->\nother\n<!-- x:end -->\n<!-- y:begin -->\n\nnew\n\n<!-- y:end -->\nb\n";
        assert_eq!(new, written);
        assert_eq!(between_markers("no markers", "y", "new"), None);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([9.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), Some(2.5));
        assert_eq!(median([].into_iter()), None);
    }
}
