//! `rclone.conf`: sections of `key = value`.

use std::collections::BTreeMap;

/// The remotes of a configuration.
#[derive(Default)]
pub struct Config {
    remotes: BTreeMap<String, Remote>,
}

/// What is said of one remote. A key without a value is not there. It has no `Debug`: it holds secrets.
#[derive(Clone, Default)]
pub struct Remote {
    keys: BTreeMap<String, String>,
}

impl Config {
    /// Reads a configuration. An error repeats nothing of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut config = Self::default();
        let mut section: Option<String> = None;
        for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if line.starts_with("RCLONE_ENCRYPT_V") {
                return Err(
                    "it is encrypted; let rclone read it, and add `--rclone-config /dev/stdin` behind a pipe: `rclone config show REMOTE | wl storage create ...`"
                        .to_owned(),
                );
            }
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'))
            {
                config.remotes.entry(name.to_owned()).or_default();
                section = Some(name.to_owned());
                continue;
            }
            let Some((key, value)) = line.split_once(['=', ':']) else {
                let at = at + 1;
                return Err(format!(
                    "line {at} is neither `[remote]` nor `key = value`; correct it by hand"
                ));
            };
            let remote = section
                .as_ref()
                .and_then(|name| config.remotes.get_mut(name));
            if let Some(remote) = remote {
                remote.set(key.trim(), unquoted(value.trim()));
            }
        }
        Ok(config)
    }

    /// The remote of this name.
    pub fn remote(&self, name: &str) -> Option<Remote> {
        self.remotes.get(name).cloned()
    }

    /// The names of all remotes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.remotes.keys().map(String::as_str)
    }
}

fn unquoted(value: &str) -> &str {
    let quoted = |quote: &str| value.strip_prefix(quote)?.strip_suffix(quote);
    quoted("\"\"\"").or_else(|| quoted("`")).unwrap_or(value)
}

impl Remote {
    fn set(&mut self, key: &str, value: &str) {
        match value {
            "" => self.keys.remove(key),
            value => self.keys.insert(key.to_owned(), value.to_owned()),
        };
    }

    /// The value of `key`, which is then no longer there: what is left in the end was not understood.
    pub fn take(&mut self, key: &str) -> Option<String> {
        self.keys.remove(key)
    }

    /// Whether `key` says yes.
    pub fn take_flag(&mut self, key: &str) -> Option<bool> {
        let value = self.take(key)?;
        Some(matches!(
            &*value.to_ascii_lowercase(),
            "true" | "1" | "yes" | "t"
        ))
    }

    /// The keys that nobody took.
    pub fn left(&self) -> impl Iterator<Item = (&str, &str)> {
        self.keys.iter().map(|(key, value)| (&**key, &**value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_keys_and_comments_are_read() {
        let text = "\u{feff}# a\n; b\nlost = 1\n\n[one]\ntype = s3\r\nurl = http://h:1/a=b\nempty =\n [t w.o-2] \n type=`local`\n[one]\nkey : \"\"\"x\"\"\"\n";
        let config = Config::parse(text).ok().unwrap();
        assert_eq!(config.names().collect::<Vec<_>>(), ["one", "t w.o-2"]);
        let mut one = config.remote("one").unwrap();
        assert_eq!(one.take("type").as_deref(), Some("s3"));
        assert_eq!(one.take("type"), None);
        assert_eq!(one.take("url").as_deref(), Some("http://h:1/a=b"));
        assert_eq!(one.left().collect::<Vec<_>>(), [("key", "x")]);
        let mut two = config.remote("t w.o-2").unwrap();
        assert_eq!(two.take("type").as_deref(), Some("local"));
        assert!(config.remote("three").is_none());
    }

    #[test]
    fn flags_are_read_as_rclone_reads_them() {
        let config = Config::parse("[a]\nx = true\ny = false\nz = 1\n")
            .ok()
            .unwrap();
        let mut remote = config.remote("a").unwrap();
        let flags = ["x", "y", "z", "w"].map(|key| remote.take_flag(key));
        assert_eq!(flags, [Some(true), Some(false), Some(true), None]);
    }

    #[test]
    fn what_cannot_be_read_is_told_without_repeating_it() {
        let encrypted = "# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\nhush\n";
        let error = Config::parse(encrypted).err().unwrap();
        assert!(
            error.contains("encrypted") && error.contains("--rclone-config"),
            "{error}"
        );
        let error = Config::parse("[a]\nhush\n").err().unwrap();
        assert!(
            error.contains("line 2") && !error.contains("hush"),
            "{error}"
        );
    }
}
