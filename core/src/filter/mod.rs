//! What a person wants left out, in gitignore syntax: rules, and what they come to. Pure: nothing here waits or reads.
//!
//! The last rule that matches decides. Where both sides have rules of their own, a path is left out if either says so: what only one
//! side wants left out must not travel.

mod line;
mod preset;
mod rules;
mod size;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

pub use preset::Preset;
pub(crate) use rules::of_file;
pub use rules::{RuleError, Rules};
pub use size::MaxSize;

use crate::model::{Side, SyncPath};
use crate::storage::Filter;

/// The file at a storage's root whose lines are rules.
pub const IGNORE_FILE: &str = ".wlignore";

/// A rule: a line as in a `.gitignore`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The line; `!` in front takes back what an earlier rule left out.
    pub line: String,
    /// Who says so.
    pub origin: Origin,
}

/// Where a rule stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A ready-made list.
    Preset(Preset),
    /// The container's manifest.
    Manifest,
    /// An option of the command.
    CommandLine,
    /// What a job was asked to do.
    Job,
    /// A line of a side's [`IGNORE_FILE`], counted from 1.
    File(Side, usize),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset(preset) => write!(f, "the preset {preset}"),
            Self::Manifest => f.write_str("the manifest"),
            Self::CommandLine => f.write_str("the command line"),
            Self::Job => f.write_str("the job's options"),
            Self::File(side, line) => write!(f, "{IGNORE_FILE} of the {side}, line {line}"),
        }
    }
}

/// What a job leaves out, as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusions {
    /// Ready-made lists; their rules come before all others.
    pub presets: Vec<Preset>,
    /// Rules, in order.
    pub rules: Vec<Rule>,
    /// Files larger than this are left out.
    pub max_size: Option<MaxSize>,
}

impl Rule {
    /// A rule that leaves out what `pattern` matches.
    pub fn exclude(pattern: &str, origin: Origin) -> Self {
        Self {
            line: pattern.to_owned(),
            origin,
        }
    }

    /// A rule that takes back what `pattern` matches.
    pub fn include(pattern: &str, origin: Origin) -> Self {
        Self {
            line: format!("!{pattern}"),
            origin,
        }
    }

    /// Whether it can be used.
    pub fn check(&self) -> Result<(), RuleError> {
        Rules::new([self.clone()], false).map(drop)
    }
}

impl Exclusions {
    /// `more` after these; its largest size, if it has one, takes the place of this one.
    pub fn and(mut self, more: Self) -> Self {
        self.presets.extend(more.presets);
        self.rules.extend(more.rules);
        self.max_size = more.max_size.or(self.max_size);
        self
    }

    /// Whether there is no rule; a largest size is none.
    pub fn is_empty(&self) -> bool {
        self.presets.is_empty() && self.rules.is_empty()
    }

    /// All rules, in the order in which they count.
    pub fn all_rules(&self) -> impl Iterator<Item = Rule> + '_ {
        let presets = self.presets.iter().flat_map(|preset| preset.rules());
        presets.chain(self.rules.iter().cloned())
    }

    /// Whether every rule is one.
    pub fn check(&self) -> Result<(), RuleError> {
        Rules::new(self.all_rules(), false).map(drop)
    }
}

/// The rules of both sides, and what is left out in any case.
#[derive(Debug)]
pub struct Excluder {
    /// One, if both sides say the same.
    rules: Vec<Rules>,
    also: Arc<dyn Filter>,
}

impl Excluder {
    /// Leaves out what one of `rules` or `also` leaves out.
    pub fn new(rules: Vec<Rules>, also: Arc<dyn Filter>) -> Self {
        Self { rules, also }
    }
}

impl Filter for Excluder {
    fn excludes(&self, path: &SyncPath, folder: bool) -> bool {
        self.rules.iter().any(|rules| rules.excludes(path, folder))
            || self.also.excludes(path, folder)
    }

    fn reason(&self, path: &SyncPath, folder: bool) -> Option<String> {
        let mut rules = self.rules.iter();
        rules
            .find_map(|rules| rules.reason(path, folder))
            .or_else(|| self.also.reason(path, folder))
    }
}
