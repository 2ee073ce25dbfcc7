//! The command line as types.

mod filter;
mod global;
mod options;
mod pair;
mod parse;
mod run;
pub mod schema;
mod storage;

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Parser};

use crate::commands::Command;

pub use filter::FilterArgs;
pub use global::Global;
pub use options::Word;
pub use pair::{Pair, Selection};
pub use parse::{storage, sync_path};
pub use run::{KeepArg, RunArgs};
pub use storage::{CommonStorageArgs, RcloneArgs, StorageChoice, TypedStorage};

/// Keep storages in sync
///
/// A container is a named thing that lives in several storages at once: local folders, and the types that `wl storage types` lists.
/// `wl sync` makes two storages equal without any set-up; `wl container` and `wl storage` give them names.
#[derive(Debug, Parser)]
#[command(
    name = "wl",
    version,
    propagate_version = false,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = AFTER_HELP
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  wl sync ~/Documents /media/stick/Documents
  wl sync --dry-run --output json notes backup/notes
  wl sync ~/Pictures s3://bucket/pictures
  wl container create photos
  wl storage create local --container photos --location ~/Pictures
  wl storage create local --container photos --location /media/disk/Pictures
  wl container sync photos --one-shot

Exit codes:
  0  in sync, or done
  1  failed, wholly or for some paths; also a run that Ctrl-C ended
  2  wrong usage
  3  done, with conflicts left (a dry run too)";

/// The whole command line, for help and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Reads the command line.
pub fn parse(words: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(help_as_option(words))?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command()))
}

/// `wl help container sync` as `wl container sync --help`; any other words as they are.
fn help_as_option(words: &[OsString]) -> Vec<OsString> {
    let whole = command();
    let (mut command, mut value_follows) = (&whole, false);
    for (at, word) in words.iter().enumerate().skip(1) {
        let is_value = std::mem::replace(&mut value_follows, false);
        let text = word.to_str().unwrap_or_default();
        if is_value || text.starts_with('-') {
            value_follows = !is_value && takes_value(text);
            continue;
        }
        if word == "help" && command.has_subcommands() {
            let others = words.iter().enumerate().filter(|(other, _)| *other != at);
            let others = others.map(|(_, word)| word.clone());
            return others.chain(["--help".into()]).collect();
        }
        match command.find_subcommand(text) {
            Some(found) => command = found,
            None => break,
        }
    }
    words.to_vec()
}

/// Whether a word is a global option whose value is the next word.
fn takes_value(word: &str) -> bool {
    const OPTIONS: [&str; 6] = [
        "-b",
        "--base-dir",
        "-s",
        "--socket-path",
        "--log-level",
        "--output",
    ];
    OPTIONS.contains(&word)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }

    #[test]
    fn help_is_an_option_wherever_a_subcommand_may_stand() {
        for (line, expected) in [
            ("wl help", "wl --help"),
            ("wl help container sync", "wl container sync --help"),
            ("wl container help sync", "wl container sync --help"),
            ("wl storage create help", "wl storage create --help"),
            ("wl sync help x", "wl sync help x"),
            ("wl container create help", "wl container create help"),
            ("wl", "wl"),
            ("wl -q help", "wl -q --help"),
            ("wl -b help trash list", "wl -b help trash list"),
            ("wl -b x help trash", "wl -b x trash --help"),
            ("wl -s x help trash", "wl -s x trash --help"),
            (
                "wl --log-level debug help trash",
                "wl --log-level debug trash --help",
            ),
            ("wl sync -q help x", "wl sync -q help x"),
        ] {
            let words: Vec<_> = line.split(' ').map(Into::into).collect();
            let words = super::help_as_option(&words);
            let words: Vec<_> = words.iter().filter_map(|word| word.to_str()).collect();
            assert_eq!(words.join(" "), expected);
        }
    }
}
