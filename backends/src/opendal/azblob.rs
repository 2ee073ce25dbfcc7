//! Type `azblob`: a container of Azure Blob Storage.

use serde::Deserialize;
use wl_core::plugin::BackendPlugin;
use wl_core::storage::Result;

use super::plain::{Plain, Reached};
use super::store::Place;
use super::{config, params, parsed};

const TYPE: &str = "azblob";

inventory::submit!(BackendPlugin(&Plain {
    type_name: TYPE,
    summary: "A container of Azure Blob Storage, and a prefix in it",
    schema: include_str!("schemas/azblob.json"),
    reached: |name, params| reached(parsed(name, params)?),
}));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    blob_container: String,
    #[serde(default)]
    prefix: String,
    account_name: Option<String>,
    credentials: Option<Credentials>,
    credentials_file: Option<String>,
    endpoint_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    account_key: Option<String>,
    sas_token: Option<String>,
}

fn reached(given: Params) -> Result<Reached> {
    let container = given.blob_container;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '$' | '_');
    if container.is_empty() || !container.chars().all(fits) {
        return Err(config(
            "`blob_container` is no container's name; give its name alone",
        ));
    }
    let account = given
        .account_name
        .or_else(|| variable("AZURE_STORAGE_ACCOUNT_NAME"));
    let endpoint = match (&given.endpoint_url, &account) {
        (Some(endpoint), _) => params::text(&params::endpoint("endpoint_url", endpoint)?),
        (None, Some(account)) => format!("https://{account}.blob.core.windows.net"),
        (None, None) => {
            return Err(config(
                "neither `account_name` nor `endpoint_url` is known; give one of them, or set AZURE_STORAGE_ACCOUNT_NAME",
            ));
        }
    };
    let prefix = params::prefix("prefix", &given.prefix)?;
    let mut options = vec![
        ("container", container.clone()),
        ("root", format!("/{prefix}")),
        ("endpoint", endpoint.clone()),
    ];
    options.extend(account.map(|account| ("account_name", account)));
    let credentials = params::credentials(given.credentials, given.credentials_file.as_deref())?;
    if let Some(credentials) = credentials {
        match (credentials.account_key, credentials.sas_token) {
            (Some(key), None) => options.push(("account_key", key)),
            (None, Some(token)) => {
                let token = token.trim_start_matches('?').to_owned();
                options.push(("sas_token", token));
            }
            _ => {
                return Err(config(
                    "the credentials want either `account_key` or `sas_token`; give one of them",
                ));
            }
        }
    } else if let Some(key) = variable("AZURE_STORAGE_ACCOUNT_KEY") {
        options.push(("account_key", key));
    }
    let slash = if prefix.is_empty() { "" } else { "/" };
    let place = Place {
        location: format!("{endpoint}/{container}{slash}{prefix}"),
        server: format!("{endpoint}|{container}"),
        prefix,
    };
    Ok((options, place))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
pub(super) fn store_of(params: &serde_json::Value) -> Result<super::store::OpendalStore> {
    let (options, place) = reached(parsed(TYPE, params)?)?;
    let operator = super::built(TYPE, options).unwrap();
    Ok(super::store::OpendalStore::new(TYPE, super::service(TYPE)?, operator, place).unwrap())
}
