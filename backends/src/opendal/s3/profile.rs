//! Region and endpoint from the profile files of AWS. Keys are read from them by whoever signs.

use wl_core::storage::Result;

use super::Surroundings;
use crate::opendal::no_credentials;

/// What a profile says beside keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) region: Option<String>,
    pub(super) endpoint_url: Option<String>,
}

/// The profile with this name. One that was asked for by name must be somewhere.
pub(super) fn read(name: Option<&str>, around: &dyn Surroundings) -> Result<Profile> {
    let wanted = name.unwrap_or("default");
    let config_text = text(around, "AWS_CONFIG_FILE", ".aws/config");
    let keys_text = text(around, "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
    let from_config = section(&config_text, |head| {
        head == wanted || head.strip_prefix("profile ").map(str::trim) == Some(wanted)
    });
    let from_keys = section(&keys_text, |head| head == wanted);
    if from_config.is_none() && from_keys.is_none() && name.is_some() {
        return Err(no_credentials(format!(
            "the profile `{wanted}` is in neither ~/.aws/config nor ~/.aws/credentials; check `profile` and AWS_PROFILE"
        )));
    }
    let lines = from_config.unwrap_or_default();
    let services = value(&lines, "services");
    let of_services = services.and_then(|name| {
        let lines = section(&config_text, |head| {
            head.strip_prefix("services ").map(str::trim) == Some(name)
        })?;
        nested(&lines, "s3", "endpoint_url")
    });
    Ok(Profile {
        region: value(&lines, "region").map(str::to_owned),
        endpoint_url: of_services.or_else(|| value(&lines, "endpoint_url").map(str::to_owned)),
    })
}

fn text(around: &dyn Surroundings, variable: &str, usual: &str) -> String {
    let named = around.variable(variable);
    let path = named.or_else(|| Some(format!("{}/{usual}", around.variable("HOME")?)));
    path.and_then(|path| around.file(&path)).unwrap_or_default()
}

/// The lines of the section whose name `wanted` knows.
fn section(text: &str, wanted: impl Fn(&str) -> bool) -> Option<Vec<&str>> {
    let mut found: Option<Vec<&str>> = None;
    let mut inside = false;
    for line in text.lines() {
        let bare = line.trim();
        if bare.starts_with('#') || bare.starts_with(';') {
            continue;
        }
        if let Some(head) = bare
            .strip_prefix('[')
            .and_then(|rest| rest.split(']').next())
        {
            inside = wanted(head.trim());
            if inside {
                found.get_or_insert_default();
            }
        } else if inside && let Some(lines) = &mut found {
            lines.push(line);
        }
    }
    found
}

/// The value of a setting. Lines that are moved in belong to the setting above them.
fn value<'a>(lines: &[&'a str], name: &str) -> Option<&'a str> {
    let outer = lines.iter().filter(|line| !line.starts_with([' ', '\t']));
    outer.filter_map(|line| setting(line, name)).next_back()
}

/// The value of a setting below another.
fn nested(lines: &[&str], above: &str, name: &str) -> Option<String> {
    let moved_in = |line: &&&str| line.starts_with([' ', '\t']);
    let heads = |line: &&str| line.trim_end().strip_suffix('=').map(str::trim_end) == Some(above);
    let start = lines.iter().position(heads)?;
    let below = lines.get(start + 1..)?.iter().take_while(moved_in);
    below
        .filter_map(|line| setting(line, name))
        .last()
        .map(str::to_owned)
}

fn setting<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = line.split_once('=')?;
    let value = value.trim();
    (key.trim() == name && !value.is_empty()).then_some(value)
}
