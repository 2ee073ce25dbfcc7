//! The part of `deny.toml` that we know: sections, and keys with strings or lists of strings or of `{ crate = "..." }`.

use std::collections::BTreeMap;

use crate::Result;

/// What `deny.toml` asks for.
#[derive(Debug)]
pub struct Config {
    /// Licences that are fine, as SPDX has them.
    pub licences: Vec<String>,
    /// Crates that may not be there.
    pub banned: Vec<String>,
    /// Registries that packages may come from.
    pub registries: Vec<String>,
}

/// Keys that change nothing here, or that are always so.
const LEFT_TO_CARGO_DENY: [&str; 5] = [
    "licenses.confidence-threshold",
    "bans.multiple-versions",
    "bans.wildcards",
    "sources.unknown-registry",
    "sources.unknown-git",
];

impl Config {
    /// Reads the text. A key that is not known is an error: it would look as if it were enforced.
    pub fn parse(text: &str) -> Result<Self> {
        let mut values = values(text)?;
        values.retain(|key, _| !LEFT_TO_CARGO_DENY.contains(&key.as_str()));
        let mut take = |key: &str| {
            let value = values
                .remove(key)
                .ok_or_else(|| format!("deny.toml has no {key}"))?;
            Ok::<_, String>(strings(&value))
        };
        let config = Self {
            licences: take("licenses.allow")?,
            banned: take("bans.deny")?,
            registries: take("sources.allow-registry")?,
        };
        if let Some(key) = values.keys().next() {
            return Err(format!("deny.toml: {key} is not known to `cargo xtask deny`").into());
        }
        Ok(config)
    }
}

/// `section.key` to the text of its value.
fn values(text: &str) -> Result<BTreeMap<String, String>> {
    let (mut values, mut section) = (BTreeMap::new(), String::new());
    let mut lines = text.lines().map(|line| without_comment(line).trim());
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            section = name.to_owned();
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(format!("deny.toml: cannot read {line:?}").into());
        };
        let mut value = value.to_owned();
        while value.matches('[').count() > value.matches(']').count() {
            let more = lines.next().ok_or("deny.toml: a list has no end")?;
            value.push_str(more);
        }
        values.insert(format!("{section}.{}", key.trim()), value);
    }
    Ok(values)
}

fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let hash = line.find(|c| {
        quoted ^= c == '"';
        c == '#' && !quoted
    });
    &line[..hash.unwrap_or(line.len())]
}

/// What stands between quotes.
fn strings(value: &str) -> Vec<String> {
    value
        .split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_may_span_lines_and_have_comments() {
        let text = "[licenses]\nallow = [ # fine\n \"MIT\", # also \"GPL\"\n \"A#B\",\n]\n\
                    [bans]\ndeny = [{ crate = \"x\" }]\n[sources]\nallow-registry = [\"r\"]\n";
        let config = Config::parse(text).unwrap();
        assert_eq!(config.licences, ["MIT", "A#B"]);
        assert_eq!(config.banned, ["x"]);
    }

    #[test]
    fn a_key_that_is_not_known_or_missing_is_an_error() {
        let good = "[licenses]\nallow = []\n[bans]\ndeny = []\n[sources]\nallow-registry = []\n";
        Config::parse(good).unwrap();
        let error = Config::parse(&format!("{good}private = true\n")).unwrap_err();
        assert!(error.to_string().contains("sources.private"));
        Config::parse("[licenses]\nallow = []\n").unwrap_err();
        Config::parse("[licenses]\nallow = [\n").unwrap_err();
    }
}
