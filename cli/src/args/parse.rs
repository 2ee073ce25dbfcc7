//! Words of the command line as values.

use std::num::{NonZeroU32, NonZeroU64};
use std::path::Path;

use wl_daemon::model::SyncPath;
use wl_daemon::storage::TrashKeep;
use wl_daemon::sync::DeleteBudget;
use wl_daemon::{StorageSpec, types};

use super::options::{self, Word};
use super::schema::path_text;
use crate::error::{CliError, CliResult};

/// `30s`, `12h`, `7d`, `2w`; or `none`.
pub fn trash_keep(text: &str) -> Result<TrashKeep, String> {
    text.parse()
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

/// A storage without set-up: a path or a URL, and the options that `flag` gave.
pub fn storage(text: &str, flag: &str, options: &[Word]) -> CliResult<StorageSpec> {
    let mut spec = match wl_daemon::storage_of_url(text) {
        Some(spec) => spec.map_err(|error| CliError::Usage(error.told(flag)))?,
        None => folder(text)?,
    };
    let factory = types::backend(&spec.type_name)?;
    if let Some(params) = spec.params.as_object_mut() {
        let schema = serde_json::from_str(factory.schema()).unwrap_or_default();
        options::apply(&spec.type_name, &schema, params, flag, options)?;
    }
    Ok(spec)
}

fn folder(text: &str) -> CliResult<StorageSpec> {
    if text.is_empty() {
        return Err(CliError::Usage(
            "a storage is a path or a URL, not an empty text".to_owned(),
        ));
    }
    if let Some((name, _)) = text.split_once(':')
        && !name.is_empty()
        && !name.contains('/')
        && !Path::new(text).exists()
    {
        return Err(CliError::Usage(format!(
            "`{name}:` looks like a remote of another tool, and no folder of that name is here; give a URL (s3://bucket/prefix, sftp://user@host/path, ...), \
             take a remote of rclone over with `wl storage create --from-rclone`, or put ./ in front if a new folder is meant"
        )));
    }
    let path = std::path::absolute(Path::new(text))
        .map_err(|error| CliError::Usage(format!("{text}: {error}; correct the path")))?;
    Ok(StorageSpec::local(path_text(&path)?))
}

/// Bytes a second: `512K`, `10M`, `1G`, in powers of 1024; or a plain number of bytes.
pub fn bytes_per_second(text: &str) -> Result<NonZeroU64, String> {
    let wrong = || {
        format!(
            "`{text}` is no number of bytes a second; write 512K, 10M or 1G, or leave it out for no limit"
        )
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &*text[digits.len()..].to_ascii_uppercase() {
        "" | "B" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err(wrong()),
    };
    let count: NonZeroU64 = match digits.starts_with('+') {
        true => return Err(wrong()),
        false => digits.parse().map_err(|_| wrong())?,
    };
    let factor = NonZeroU64::new(factor).ok_or_else(wrong)?;
    count.checked_mul(factor).ok_or_else(wrong)
}

/// At least one.
pub fn requests_per_second(text: &str) -> Result<NonZeroU32, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let count = plain.then(|| text.parse().ok()).flatten();
    count.ok_or_else(|| {
        format!("`{text}` is no number of requests from 1 up; leave it out for no limit")
    })
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
    fn rates_are_in_powers_of_1024() {
        let rate = |text| bytes_per_second(text).ok().map(NonZeroU64::get);
        assert_eq!(rate("1"), Some(1));
        assert_eq!(rate("100B"), Some(100));
        assert_eq!(rate("512k"), Some(512 << 10));
        assert_eq!(rate("10M"), Some(10 << 20));
        assert_eq!(rate("2G"), Some(2 << 30));
        for wrong in [
            "",
            "0",
            "0M",
            "-1",
            "+1",
            "M",
            "1.5M",
            "10 M",
            "10MB",
            "10Mi",
            "x",
            "1é",
            "18446744073709551615K",
        ] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
        assert_eq!(requests_per_second("5").map(NonZeroU32::get), Ok(5));
        for wrong in ["", "0", "-1", "+1", "1.5", "x", "4294967296"] {
            assert!(requests_per_second(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_storage_is_a_path_or_a_url() {
        let local = storage("./s3://b", "--source-option", &[]).unwrap();
        assert_eq!(local.type_name, wl_daemon::LOCAL);
        let here = std::env::current_dir().unwrap().join("s3:/b");
        assert_eq!(local.params["location"], here.to_str().unwrap());
        // What other tools would take for a remote makes no folder of that name.
        for remote in ["user@host:path", "host:/path", "s3:b"] {
            let error = storage(remote, "--source-option", &[]).unwrap_err();
            assert!(error.to_string().contains("put ./ in front"), "{error}");
            let local = storage(&format!("./{remote}"), "--source-option", &[]).unwrap();
            assert_eq!(local.type_name, wl_daemon::LOCAL, "{remote}");
        }
        let option = Word("location=/x".to_owned());
        let error = storage("a", "--target-option", &[option]).unwrap_err();
        assert!(error.to_string().contains("give it once"), "{error}");
        let option = Word("colour=red".to_owned());
        let error = storage("a", "--target-option", &[option]).unwrap_err();
        assert!(error.to_string().contains("takes no options"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_storage_or_refused(text in "\\PC{0,40}") {
            let _ = storage(&text, "--source-option", &[]);
            let _ = storage(&format!("sftp://{text}"), "--source-option", &[]);
            let _ = storage(&format!("s3://{text}"), "--source-option", &[]);
        }

        #[test]
        fn a_password_is_refused_and_not_repeated(
            scheme in "s3|gs|azblob|sftp|ftps?|webdavs?|https?|tape|file",
            user in "[a-z%@/.-]{0,5}",
            before in "\\PC{0,5}",
            after in "\\PC{0,5}",
        ) {
            // A slash before the colon makes it a path, and a path may hold anything.
            let url = format!("{scheme}://{}:{before}hush{after}@host/path", user.replace('/', ""));
            let refused = storage(&url, "--source-option", &[]);
            let refused = refused.map_err(|error| error.to_string());
            proptest::prop_assert!(refused.is_err_and(|error| !error.contains("hush")));
        }
    }
}
