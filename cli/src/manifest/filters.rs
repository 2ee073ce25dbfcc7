//! What a container leaves out.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wl_daemon::filter::{Exclusions, MaxSize, Origin, Preset, Rule};

use crate::error::{CliError, CliResult};
use crate::output::escape;

/// The fields of a manifest that say what is left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Filters {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exclude_preset: Vec<Preset>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exclude: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<String>,
    /// Bytes, or a text as on the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_size: Option<Value>,
}

impl Filters {
    /// The fields that say this.
    pub fn of(exclusions: &Exclusions) -> Self {
        let mut exclude: Vec<_> = exclusions
            .rules
            .iter()
            .map(|rule| rule.line.clone())
            .collect();
        // What is taken back at the end is a list of its own, which is easier to read.
        let last = exclude.iter().rposition(|line| !line.starts_with('!'));
        let include = exclude.split_off(last.map_or(0, |last| last + 1));
        Self {
            exclude_preset: exclusions.presets.clone(),
            exclude,
            include: include.iter().map(|line| line[1..].to_owned()).collect(),
            max_size: exclusions.max_size.map(|max| max.to_string().into()),
        }
    }

    /// A line each, for people.
    pub fn text(&self) -> String {
        let presets = self
            .exclude_preset
            .iter()
            .map(|preset| ("exclude-preset", preset.to_string()));
        let exclude = self.exclude.iter().map(|line| ("exclude", line.clone()));
        let include = self.include.iter().map(|line| ("include", line.clone()));
        let size = self.max_size.iter().map(|size| match size {
            Value::String(text) => ("max-size", text.clone()),
            number => ("max-size", number.to_string()),
        });
        let all = presets.chain(exclude).chain(include).chain(size);
        all.map(|(field, value)| format!("  {field}: {}\n", escape(&value)))
            .collect()
    }

    /// What they say, as a job takes it. An error names the rule that is none.
    pub fn exclusions(&self) -> CliResult<Exclusions> {
        let exclude = self.exclude.iter();
        let exclude = exclude.map(|line| Rule::exclude(line, Origin::Manifest));
        let include = self.include.iter();
        let include = include.map(|line| Rule::include(line, Origin::Manifest));
        let max_size = self.max_size.as_ref().map(|size| match size {
            Value::String(text) => text.parse::<MaxSize>(),
            number => number.to_string().parse(),
        });
        let exclusions = Exclusions {
            presets: self.exclude_preset.clone(),
            rules: exclude.chain(include).collect(),
            max_size: max_size
                .transpose()
                .map_err(|why| CliError::Usage(format!("`max-size` in the manifest: {why}")))?,
        };
        let checked = exclusions.check();
        checked.map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(exclusions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(filters: &Filters) -> Vec<String> {
        let rules = filters.exclusions().unwrap().rules;
        rules.into_iter().map(|rule| rule.line).collect()
    }

    #[test]
    fn rules_keep_their_order_through_a_manifest() {
        for given in [
            &["a", "b"][..],
            &["a", "!b", "!c"],
            &["!a", "b", "!c", "d"],
            &["!a"],
            &[],
        ] {
            let rules = given
                .iter()
                .map(|line| Rule::exclude(line, Origin::CommandLine));
            let exclusions = Exclusions {
                rules: rules.collect(),
                max_size: Some(MaxSize(5 << 20)),
                ..Exclusions::default()
            };
            let written = serde_json::to_value(Filters::of(&exclusions)).unwrap();
            let read: Filters = serde_json::from_value(written).unwrap();
            assert_eq!(lines(&read), given);
            assert_eq!(read.exclusions().unwrap().max_size, exclusions.max_size);
        }
    }

    #[test]
    fn a_rule_that_is_none_is_named_with_where_it_stands() {
        let filters = Filters {
            exclude: vec!["a[".to_owned()],
            ..Filters::default()
        };
        let error = filters.exclusions().unwrap_err().to_string();
        assert!(error.contains("`a[` from the manifest"), "{error}");
    }
}
