//! Rules made ready to match.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use ignore::gitignore::{Gitignore, GitignoreBuilder, Glob};

use super::{IGNORE_FILE, Origin, Rule, line};
use crate::model::{Side, SyncPath};
use crate::storage::Filter;

/// A rule that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It cannot be read as a pattern.
    #[error("the rule `{}` from {} cannot be used: {why}; correct it or take it out", .rule.line.escape_debug(), .rule.origin)]
    Pattern {
        /// The rule.
        rule: Rule,
        /// Why.
        why: String,
    },
    /// A rule of a command or manifest that says nothing.
    #[error("the rule `{}` from {} leaves nothing out; write `\\#` for a name that starts with #, and take empty rules out", .0.line.escape_debug(), .0.origin)]
    Empty(Rule),
    /// All together are too much.
    #[error("the rules of what is left out cannot be used together: {0}; take some out")]
    Together(String),
}

/// Rules, ready to match.
pub struct Rules {
    matcher: Gitignore,
    /// What is said of `.git` folders by their name. No other rule counts in one: `build/` means no branch `build/fix`.
    in_git: Gitignore,
    rules: Vec<Rule>,
    fold: bool,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.rules).finish()
    }
}

impl Rules {
    /// These rules, the last of which wins. With `fold` case makes no difference.
    pub fn new(rules: impl IntoIterator<Item = Rule>, fold: bool) -> Result<Self, RuleError> {
        let mut builders = [GitignoreBuilder::new(""), GitignoreBuilder::new("")];
        for builder in &mut builders {
            builder.allow_unclosed_class(false);
        }
        let mut taken = Vec::new();
        for rule in rules {
            let wrong = |why: String| RuleError::Pattern {
                rule: rule.clone(),
                why,
            };
            let line =
                match line::translate(&rule.line, fold).map_err(|why| wrong(why.to_owned()))? {
                    Some(line) => line,
                    None if matches!(rule.origin, Origin::File(..)) => continue,
                    None => return Err(RuleError::Empty(rule)),
                };
            // The matcher notes where a rule comes from: its number in `taken`.
            let number = PathBuf::from(taken.len().to_string());
            let counts = if names_git(&line) { 2 } else { 1 };
            for builder in builders.iter_mut().take(counts) {
                if let Err(error) = builder.add_line(Some(number.clone()), &line) {
                    let why = match error {
                        ignore::Error::Glob { err, .. } => err,
                        error => error.to_string(),
                    };
                    return Err(wrong(why));
                }
            }
            taken.push(rule);
        }
        let build = |builder: &GitignoreBuilder| {
            let built = builder.build();
            built.map_err(|error| RuleError::Together(error.to_string()))
        };
        let [all, of_git] = &builders;
        Ok(Self {
            matcher: build(all)?,
            in_git: build(of_git)?,
            rules: taken,
            fold,
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rule that leaves `path` out. Rules about the folders above are not looked at.
    pub fn excluding(&self, path: &SyncPath, folder: bool) -> Option<&Rule> {
        let number = self.glob(path, folder)?.from()?.to_str()?;
        self.rules.get(number.parse::<usize>().ok()?)
    }

    fn glob(&self, path: &SyncPath, folder: bool) -> Option<&Glob> {
        let text = path.as_str();
        let folded = match self.fold && !is_folded(text) {
            true => Cow::Owned(text.to_lowercase()),
            false => Cow::Borrowed(text),
        };
        let matcher = match text.starts_with(".git/") || text.contains("/.git/") {
            true => &self.in_git,
            false => &self.matcher,
        };
        let found = matcher.matched(&*folded, folder);
        found.is_ignore().then(|| found.inner().copied()).flatten()
    }
}

/// Whether a rule speaks of folders named `.git`.
fn names_git(line: &str) -> bool {
    let pattern = line.strip_prefix('!').unwrap_or(line);
    pattern.split('/').any(|name| name == ".git")
}

fn is_folded(text: &str) -> bool {
    let lower = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    text.bytes().all(lower)
}

impl Filter for Rules {
    fn excludes(&self, path: &SyncPath, folder: bool) -> bool {
        self.glob(path, folder).is_some()
    }

    fn reason(&self, path: &SyncPath, folder: bool) -> Option<String> {
        let rule = self.excluding(path, folder)?;
        Some(format!("`{}` (from {})", rule.line.trim(), rule.origin))
    }
}

/// The rules in a side's [`IGNORE_FILE`].
pub(crate) fn of_file(side: Side, content: &[u8]) -> Result<Vec<Rule>, String> {
    let text = std::str::from_utf8(content)
        .map_err(|_| format!("{IGNORE_FILE} is no UTF-8 text; save it as UTF-8"))?;
    // Some editors put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rule = |(at, line): (usize, &str)| Rule {
        line: line.to_owned(),
        origin: Origin::File(side, at + 1),
    };
    Ok(text.split('\n').enumerate().map(rule).collect())
}
