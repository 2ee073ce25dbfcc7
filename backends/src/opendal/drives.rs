//! Types `onedrive`, `gdrive` and `dropbox`: drives that are reached with a token.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use wl_core::model::ContentHash;
use wl_core::plugin::{BackendFactory, BackendPlugin, ConnectContext};
use wl_core::storage::{Capabilities, Result, StorageBackend};

use super::store::Place;
use super::{built, config, no_credentials, params, parsed};

/// Makes backends of one drive.
struct Factory {
    type_name: &'static str,
    summary: &'static str,
}

#[cfg(feature = "onedrive")]
inventory::submit!(BackendPlugin(&Factory {
    type_name: "onedrive",
    summary: "A folder of a OneDrive",
}));
#[cfg(feature = "gdrive")]
inventory::submit!(BackendPlugin(&Factory {
    type_name: "gdrive",
    summary: "A folder of a Google Drive",
}));
#[cfg(feature = "dropbox")]
inventory::submit!(BackendPlugin(&Factory {
    type_name: "dropbox",
    summary: "A folder of a Dropbox",
}));

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

#[async_trait]
impl BackendFactory for Factory {
    fn type_name(&self) -> &'static str {
        self.type_name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn schema(&self) -> &'static str {
        include_str!("schemas/drive.json")
    }

    fn at_best(&self) -> Capabilities {
        super::at_best(self.type_name)
    }

    async fn connect(
        &self,
        params: &Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn StorageBackend>> {
        let scheme = self.type_name;
        let (options, place) = reached(scheme, parsed(scheme, params)?)?;
        super::connect(
            scheme,
            super::service(scheme)?,
            built(scheme, options),
            place,
            context,
        )
        .await
    }
}

fn reached(scheme: &str, given: Params) -> Result<(Vec<(&'static str, String)>, Place)> {
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
