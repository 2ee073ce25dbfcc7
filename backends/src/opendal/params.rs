//! What the types' parameters have in common: secrets in files, addresses.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::de::DeserializeOwned;
use url::Url;
use wl_core::storage::Result;

use super::{config, no_credentials};

/// The largest file of credentials.
const FILE_MAX: u64 = 64 * 1024;

/// The credentials of the parameters, or those in the file they name. Both at once is a mistake.
pub(super) fn credentials<T: DeserializeOwned>(
    given: Option<T>,
    file: Option<&str>,
) -> Result<Option<T>> {
    match (given, file) {
        (Some(_), Some(_)) => Err(config(
            "both `credentials` and `credentials_file` are given; give one of them",
        )),
        (Some(given), None) => Ok(Some(given)),
        (None, Some(file)) => from_file(file).map(Some),
        (None, None) => Ok(None),
    }
}

/// The credentials in a JSON file that only its owner can read.
fn from_file<T: DeserializeOwned>(name: &str) -> Result<T> {
    let text = secret(name)?;
    serde_json::from_str(&text).map_err(|error| {
        // Where it is wrong, not what stands there.
        no_credentials(format!(
            "the credentials file {name} is not the JSON that is wanted (line {}, column {}); write the members of `credentials` into it",
            error.line(),
            error.column()
        ))
    })
}

/// The text of a file that only its owner can read.
pub(super) fn secret(name: &str) -> Result<String> {
    let failed = |error: std::io::Error| {
        no_credentials(format!(
            "the credentials file {name} cannot be read: {error}; check its path"
        ))
    };
    let file = std::fs::File::open(Path::new(name)).map_err(failed)?;
    // What was opened is looked at, not what has the name a moment later.
    let status = file.metadata().map_err(failed)?;
    if !status.is_file() {
        return Err(no_credentials(format!(
            "the credentials file {name} is no file; check its path"
        )));
    }
    if status.mode() & 0o077 != 0 {
        return Err(no_credentials(format!(
            "the credentials file {name} can be read by others; run `chmod 600 {name}`"
        )));
    }
    let mut text = String::new();
    file.take(FILE_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

/// An http or https address without a trailing `/`. Plain http only if it says so.
pub(super) fn endpoint(name: &str, text: &str) -> Result<Url> {
    let bad = |why: &str| {
        config(format!(
            "`{name}` is no address: {why}; give https://host or http://host:port"
        ))
    };
    let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("it does not begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad(
            "it holds a name or password, which belong into the credentials",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it holds a `?` or `#`"));
    }
    if url.host_str().is_none() {
        return Err(bad("it has no host"));
    }
    Ok(url)
}

/// The text of an address, without `/` at its end.
pub(super) fn text(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// A prefix or folder as opendal keeps it, without `/` at its ends; refused if it would change it.
pub(super) fn prefix(name: &str, given: &str) -> Result<String> {
    let inner = given.trim_matches('/');
    let odd = |part: &str| part.is_empty() || part == "." || part == ".." || part.trim() != part;
    if !inner.is_empty() && inner.split('/').any(odd) {
        return Err(config(format!(
            "`{name}` has a part that is empty, `.`, `..`, or begins or ends with white space; choose another prefix"
        )));
    }
    Ok(inner.to_owned())
}
