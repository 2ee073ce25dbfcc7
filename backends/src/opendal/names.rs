//! Names that would not come back as they are: refused before they reach opendal, for it would quietly use another.

use wl_core::model::SyncPath;
use wl_core::storage::ErrorKind;

use super::errors;
use super::services::Names;
use crate::remote::store::Outcome;

/// Why `path` cannot be kept as it is below `prefix`, and what to do; `None` if it can.
pub(super) fn refusal(names: &Names, prefix: &str, path: &str) -> Option<String> {
    if path.trim() != path {
        return Some(
            "the path begins or ends with white space, which is cut off on the way; rename it"
                .to_owned(),
        );
    }
    let bytes = prefix.len() + path.len();
    if bytes > names.key_max {
        let most = names.key_max;
        return Some(format!(
            "the name has {bytes} bytes with the prefix and the service takes {most}; shorten it"
        ));
    }
    if let Some(bad) = path.chars().find(|c| names.never.contains(*c)) {
        return Some(format!(
            "the service does not keep `{bad}` in names; rename it"
        ));
    }
    if path
        .chars()
        .any(|c| unlistable(c) || (names.control && c.is_control()))
    {
        let reason = "the name holds a control character that the service or its listings cannot carry; rename it";
        return Some(reason.to_owned());
    }
    path.split('/').find_map(|part| of_part(names, part))
}

fn of_part(names: &Names, part: &str) -> Option<String> {
    if part.len() > names.part_max {
        let most = names.part_max;
        return Some(format!(
            "a part of the name has more than {most} bytes; shorten it"
        ));
    }
    if names.home && part == "~" {
        return Some("servers take `~` for a home folder; rename it".to_owned());
    }
    let cut = part.trim() != part || part.ends_with('.');
    (names.trims && cut).then(|| {
        "a part of the name begins or ends with white space, or ends with a dot, which the service cuts off; rename it".to_owned()
    })
}

/// XML has no way to write these, and takes a carriage return for a line feed.
fn unlistable(c: char) -> bool {
    (c < ' ' && !matches!(c, '\t' | '\n')) || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// What opendal calls the file at `path`. It trims white space around paths: such a path would be another file.
pub(super) fn key(path: &SyncPath) -> Outcome<&str> {
    let text = path.as_str();
    if text.trim() == text {
        return Ok(text);
    }
    let reason = "the path begins or ends with white space, which is cut off on the way; rename it";
    Err(errors::refusal(ErrorKind::Unrepresentable, reason))
}

/// What opendal calls the folder at `path`.
pub(super) fn folder_key(path: &SyncPath) -> Outcome<String> {
    Ok(format!("{}/", key(path)?))
}
