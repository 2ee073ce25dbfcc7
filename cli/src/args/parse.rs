//! Words of the command line as values.

use std::path::Path;
use std::time::Duration;

use wl_daemon::StorageSpec;
use wl_daemon::model::SyncPath;
use wl_daemon::storage::TrashKeep;
use wl_daemon::sync::DeleteBudget;

use crate::error::{CliError, CliResult};

/// `30s`, `12h`, `7d`, `2w`; or `none`.
pub fn trash_keep(text: &str) -> Result<TrashKeep, String> {
    if text == "none" {
        return Ok(TrashKeep::None);
    }
    let wrong = || format!("`{text}` is no duration; write 30s, 15m, 12h, 7d, 2w or none");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        'w' => 7 * 24 * 3600,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let seconds = count.checked_mul(seconds).ok_or_else(wrong)?;
    Ok(TrashKeep::For(Duration::from_secs(seconds)))
}

/// At least one second.
pub fn seconds(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(seconds @ 1..) => Ok(seconds),
        _ => Err(format!("`{text}` is no number of seconds from 1 up")),
    }
}

/// A count or a percentage.
pub fn max_delete(text: &str) -> Result<DeleteBudget, String> {
    text.parse()
}

/// A path inside a storage, as people write it: `./a/` is `a`.
pub fn sync_path(text: &str) -> Result<SyncPath, String> {
    let plain = text.strip_prefix("./").unwrap_or(text);
    let plain = plain.strip_suffix('/').unwrap_or(plain);
    let path = SyncPath::new(plain).map_err(|error| error.to_string())?;
    if path.is_root() || path.is_reserved() {
        return Err("name a path inside the storage, relative to its root".to_owned());
    }
    Ok(path)
}

/// A storage without set-up: a path or a URL.
pub fn storage(text: &str) -> CliResult<StorageSpec> {
    if let Some(scheme) = scheme(text) {
        return Err(url(scheme));
    }
    if text.is_empty() {
        return Err(CliError::Usage(
            "a storage is a path or a URL, not an empty text".to_owned(),
        ));
    }
    let path = std::path::absolute(Path::new(text))
        .map_err(|error| CliError::Usage(format!("{text}: {error}; correct the path")))?;
    // The words of the command line are UTF-8, the working directory need not be.
    match path.to_str() {
        Some(path) => Ok(StorageSpec::local(path)),
        None => Err(CliError::Usage(format!(
            "{}: the path is not UTF-8; rename the folder, or reach it through another name",
            path.display()
        ))),
    }
}

fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let mut chars = scheme.chars();
    let fits = chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    fits.then_some(scheme)
}

fn url(scheme: &str) -> CliError {
    let registry = match wl_daemon::registry() {
        Ok(registry) => registry,
        Err(error) => return error.into(),
    };
    match registry.backend(scheme) {
        Err(error) => CliError::Usage(format!("{error}; a local folder is given as a path")),
        Ok(_) if scheme == wl_daemon::LOCAL => {
            CliError::Usage("a local folder is given as a path, not as a URL".to_owned())
        }
        Ok(_) => CliError::NotYet(format!(
            "URLs of type `{scheme}` cannot be given here yet; use `wl storage create {scheme}`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        let secs = |text| match trash_keep(text) {
            Ok(TrashKeep::For(time)) => Some(time.as_secs()),
            _ => None,
        };
        assert_eq!(secs("30s"), Some(30));
        assert_eq!(secs("15m"), Some(900));
        assert_eq!(secs("12h"), Some(43_200));
        assert_eq!(secs("7d"), Some(604_800));
        assert_eq!(secs("2w"), Some(1_209_600));
        assert_eq!(trash_keep("none"), Ok(TrashKeep::None));
        for wrong in [
            "",
            "7",
            "d",
            "-1d",
            "1.5h",
            "7 d",
            "99999999999999999999w",
            "7é",
        ] {
            assert!(trash_keep(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seconds_are_whole_and_not_none() {
        assert_eq!(seconds("1"), Ok(1));
        for wrong in ["", "0", "-1", "1.5", "x", "99999999999999999999"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn paths_are_taken_as_people_write_them() {
        assert_eq!(sync_path("./a/b/").unwrap().as_str(), "a/b");
        for wrong in ["", ".", "./", "/a", "a//b", "../a", ".wl", ".wl/trash"] {
            assert!(sync_path(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_colon_alone_makes_no_url() {
        assert_eq!(scheme("a:b"), None);
        assert_eq!(scheme("1a://b"), None);
        assert_eq!(scheme("s3://bucket"), Some("s3"));
    }
}
