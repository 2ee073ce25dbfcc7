//! Types `onedrive`, `gdrive` and `dropbox`: drives that are reached with a token.

use serde::Deserialize;
use wl_core::model::ContentHash;
use wl_core::plugin::BackendPlugin;
use wl_core::storage::Result;

use super::plain::{Plain, Reached};
use super::store::Place;
use super::{config, no_credentials, params, parsed};

#[cfg(feature = "onedrive")]
inventory::submit!(BackendPlugin(&drive("onedrive", "A folder of a OneDrive")));
#[cfg(feature = "gdrive")]
inventory::submit!(BackendPlugin(&drive(
    "gdrive",
    "A folder of a Google Drive"
)));
#[cfg(feature = "dropbox")]
inventory::submit!(BackendPlugin(&drive("dropbox", "A folder of a Dropbox")));

const fn drive(type_name: &'static str, summary: &'static str) -> Plain {
    Plain {
        type_name,
        summary,
        schema: include_str!("schemas/drive.json"),
        reached: |name, params| reached(name, parsed(name, params)?),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(default)]
    location: String,
    credentials: Option<Credentials>,
    credentials_file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    access_token: Option<String>,
    refresh_token: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

fn reached(scheme: &str, given: Params) -> Result<Reached> {
    let prefix = params::prefix("location", &given.location)?;
    let credentials = params::credentials(given.credentials, given.credentials_file.as_deref())?;
    let credentials = credentials.ok_or_else(|| {
        no_credentials(
            "no credentials were given; give `credentials` or `credentials_file` with a token",
        )
    })?;
    let account = account(&credentials)?;
    let mut options = vec![("root", format!("/{prefix}"))];
    let tokens = [
        ("access_token", credentials.access_token),
        ("refresh_token", credentials.refresh_token),
        ("client_id", credentials.client_id),
        ("client_secret", credentials.client_secret),
    ];
    options.extend(
        tokens
            .into_iter()
            .filter_map(|(name, token)| Some((name, token?))),
    );
    let place = Place {
        location: format!("{scheme}:/{prefix}"),
        server: account,
        prefix,
    };
    Ok((options, place))
}

/// What tells one account from another: nothing but the token is known of it. Two accounts must never be taken for one; that a new token
/// looks like a new storage costs a comparison of everything, and no more.
fn account(credentials: &Credentials) -> Result<String> {
    let token = match (&credentials.access_token, &credentials.refresh_token) {
        (Some(token), None) => token,
        (None, Some(token))
            if credentials.client_id.is_some() && credentials.client_secret.is_some() =>
        {
            token
        }
        _ => {
            return Err(config(
                "the credentials want either `access_token`, or `refresh_token`, `client_id` and `client_secret`; give one of the two",
            ));
        }
    };
    let hash = ContentHash::of(token.as_bytes()).to_string();
    Ok(hash.chars().take(16).collect())
}
