//! The one place that writes to stdout and stderr. Data goes to stdout, talk and errors to stderr.

mod escape;
pub mod human;
pub mod jobs;
pub mod json;
pub mod progress;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::ValueEnum;
use clap::error::ErrorKind;
use serde::Serialize;

use crate::error::{CliError, CliResult, Exit};
use crate::manifest::without_passwords;

pub use escape::{escape, quote};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Human,
    /// One JSON document on stdout and nothing else
    Json,
}

impl Format {
    /// What words that could not be understood as a whole ask for.
    pub fn guess(words: &[OsString]) -> Self {
        let json = |pair: &[OsString]| pair[0] == "--output" && pair[1] == "json";
        if words.iter().any(|word| word == "--output=json") || words.windows(2).any(json) {
            Format::Json
        } else {
            Format::Human
        }
    }
}

/// Where everything is printed.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
    quiet: bool,
}

impl Output {
    /// Prints in this format; `quiet` leaves out all talk.
    pub fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// Whether JSON is asked for.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether talk is left out.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether a progress line has a reader, and a terminal that can take it away again.
    pub fn shows_progress(&self) -> bool {
        let obeys = std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        !self.quiet && obeys && io::stderr().is_terminal()
    }

    /// Prints a result: `json` as one document, or the text that `human` makes.
    pub fn print(
        &self,
        json: &(impl Serialize + ?Sized),
        human: impl FnOnce() -> String,
    ) -> CliResult<()> {
        match self.format {
            Format::Json => self.data(&json::document(json)?),
            Format::Human => self.data(&human()),
        }
    }

    /// Writes to stdout. A reader that went away is no error of ours.
    pub fn data(&self, text: &str) -> CliResult<()> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(CliError::Failed(format!("cannot write to stdout: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Writes in place of what was written the last time, where a terminal can; below it elsewhere.
    pub fn redraw(&self, text: &str) -> CliResult<()> {
        let clears = self.format == Format::Human && io::stdout().is_terminal();
        match clears {
            // To the top left corner, and all below it away.
            true => self.data(&format!("\x1b[H\x1b[J{text}")),
            false => self.data(text),
        }
    }

    /// Says something that is not the result.
    pub fn talk(&self, text: &str) {
        if !self.quiet {
            stderr(&format!("{text}\n"));
        }
    }

    /// Says why something went wrong. The text may hold any name.
    pub fn complain(&self, desc: &str) {
        stderr(&format!("error: {}\n", escape(desc)));
    }

    /// Prints why a command did nothing, and gives the exit code.
    pub fn error(&self, error: &CliError) -> Exit {
        if self.is_json() {
            // If stdout is gone, the exit code is all that is left to say.
            let _ = self.data(&json::error(&error.class(), &error.to_string()));
        } else {
            self.complain(&error.to_string());
        }
        error.exit()
    }
}

/// Writes to stderr. There is nobody to tell if that fails.
pub fn stderr(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// Prints help, the version, or what is wrong with the command line.
pub fn clap_error(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let output = Output::new(Format::guess(words), false);
    let odd = words.iter().find(|word| word.to_str().is_none());
    if let (ErrorKind::InvalidUtf8, Some(odd)) = (error.kind(), odd) {
        return output.error(&no_utf8(&odd.to_string_lossy())).into();
    }
    if error.use_stderr() && output.is_json() {
        let desc = without_passwords(&what_is_wrong(error), words);
        let _ = output.data(&json::error("usage", &format!("{desc}; see `wl --help`")));
    } else {
        let text = error.to_string();
        let safe = without_passwords(&text, words);
        if safe == text {
            // Colours are clap's to decide; what cannot be written is nobody's to read.
            let _ = error.print();
        } else {
            stderr(&safe);
        }
    }
    match error.exit_code() {
        0 => Exit::Done.into(),
        _ => Exit::Usage.into(),
    }
}

fn no_utf8(word: &str) -> CliError {
    let shown: String = word.chars().take(80).collect();
    CliError::Usage(format!(
        "the word `{shown}` is not UTF-8, and only --base-dir need not be; rename the file or folder, or reach it through another name",
    ))
}

/// What is wrong, on one line; the usage and the pointer to the help come after an empty line.
fn what_is_wrong(error: &clap::Error) -> String {
    let text = match error.kind() {
        // Its text is the help.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a subcommand is missing".to_owned(),
        _ => error.to_string(),
    };
    let first: Vec<_> = text.lines().take_while(|line| !line.is_empty()).collect();
    let first: Vec<_> = first.iter().map(|line| line.trim()).collect();
    let first = first.join(" ");
    first.strip_prefix("error: ").unwrap_or(&first).to_owned()
}
