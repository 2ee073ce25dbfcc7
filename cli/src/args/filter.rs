//! What is left out: `--exclude`, `--include`, `--exclude-preset` and `--max-size`.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use wl_daemon::filter::{Exclusions, MaxSize, Origin, Preset, Rule};

/// What is left out, in the order in which it was given.
#[derive(Clone, Debug, Default)]
pub struct FilterArgs(Exclusions);

impl FilterArgs {
    /// As a job takes it.
    pub fn exclusions(&self) -> Exclusions {
        self.0.clone()
    }
}

const EXCLUDE: &str = "exclude";
const INCLUDE: &str = "include";
const PRESET: &str = "exclude-preset";
const MAX_SIZE: &str = "max-size";

// By hand: of two options that may be mixed, the order matters.
impl Args for FilterArgs {
    fn augment_args(cmd: Command) -> Command {
        let option = |name: &'static str, value: &'static str, help: &'static str| {
            Arg::new(name)
                .long(name)
                .value_name(value)
                .help(help)
                .help_heading("Filters")
        };
        let each = |arg: Arg| arg.action(ArgAction::Append);
        cmd.arg(
            each(option(EXCLUDE, "RULE", "Leave out what a line of a .gitignore would; may be given several times, the last that matches wins"))
                .value_parser(exclude),
        )
        .arg(
            each(option(INCLUDE, "RULE", "Take back what rules before this one leave out"))
                .value_parser(include),
        )
        .arg(
            each(option(PRESET, "NAME", "Leave out what tools make again: node, python, rust or vcs-caches"))
                .value_parser(|name: &str| name.parse::<Preset>()),
        )
        .arg(
            option(MAX_SIZE, "SIZE", "Leave out files that are larger (5000, 512K, 100M, 2G: powers of 1024)")
                .value_parser(|size: &str| size.parse::<MaxSize>()),
        )
    }

    fn augment_args_for_update(cmd: Command) -> Command {
        Self::augment_args(cmd)
    }
}

impl FromArgMatches for FilterArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut rules: Vec<(usize, Rule)> = Vec::new();
        for name in [EXCLUDE, INCLUDE] {
            let at = matches.indices_of(name).into_iter().flatten();
            let given = matches.get_many::<Rule>(name).into_iter().flatten();
            rules.extend(at.zip(given.cloned()));
        }
        rules.sort_by_key(|(at, _)| *at);
        let presets = matches.get_many::<Preset>(PRESET);
        Ok(Self(Exclusions {
            presets: presets.into_iter().flatten().copied().collect(),
            rules: rules.into_iter().map(|(_, rule)| rule).collect(),
            max_size: matches.get_one(MAX_SIZE).copied(),
        }))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn exclude(pattern: &str) -> Result<Rule, String> {
    checked(Rule::exclude(pattern, Origin::CommandLine))
}

fn include(pattern: &str) -> Result<Rule, String> {
    if pattern.starts_with('!') {
        return Err("an include is a `!` already; leave it out".to_owned());
    }
    checked(Rule::include(pattern, Origin::CommandLine))
}

fn checked(rule: Rule) -> Result<Rule, String> {
    rule.check().map_err(|error| error.to_string())?;
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(words: &[&str]) -> Result<Vec<String>, String> {
        let cmd = FilterArgs::augment_args(Command::new("wl").no_binary_name(true));
        let matches = cmd
            .try_get_matches_from(words)
            .map_err(|error| error.to_string())?;
        let args = FilterArgs::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        Ok(args.0.rules.into_iter().map(|rule| rule.line).collect())
    }

    #[test]
    fn rules_keep_the_order_of_the_words() {
        let words = [
            "--exclude",
            "a",
            "--include=b",
            "--exclude=-c",
            "--include",
            "d",
        ];
        assert_eq!(lines(&words).unwrap(), ["a", "!b", "-c", "!d"]);
    }

    #[test]
    fn wrong_rules_are_named() {
        // Somebody who forgot the rule did not mean the next option.
        assert!(lines(&["--exclude", "--include", "a"]).is_err());
        for words in [
            ["--exclude", "a["],
            ["--include", "a["],
            ["--include", "!a"],
            ["--exclude", ""],
            ["--exclude", "#a"],
        ] {
            let error = lines(&words).unwrap_err();
            assert!(error.contains(words[0]), "{words:?}: {error}");
        }
    }
}
