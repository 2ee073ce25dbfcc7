//! Type `gcs`: a bucket of Google Cloud Storage.

use serde::Deserialize;
use wl_core::plugin::BackendPlugin;
use wl_core::storage::Result;

use super::plain::{Plain, Reached};
use super::store::Place;
use super::{config, params, parsed};

const TYPE: &str = "gcs";
const GOOGLE: &str = "https://storage.googleapis.com";

inventory::submit!(BackendPlugin(&Plain {
    type_name: TYPE,
    summary: "A bucket of Google Cloud Storage, and a prefix in it",
    schema: include_str!("schemas/gcs.json"),
    reached: |name, params| reached(parsed(name, params)?),
}));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    bucket: String,
    #[serde(default)]
    prefix: String,
    credentials_file: Option<String>,
    endpoint_url: Option<String>,
    #[serde(default)]
    anonymous: bool,
}

fn reached(given: Params) -> Result<Reached> {
    let bucket = given.bucket;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bucket.is_empty() || !bucket.chars().all(fits) {
        return Err(config("`bucket` is no bucket's name; give its name alone"));
    }
    let endpoint = match &given.endpoint_url {
        Some(endpoint) => params::text(&params::endpoint("endpoint_url", endpoint)?),
        None => GOOGLE.to_owned(),
    };
    let prefix = params::prefix("prefix", &given.prefix)?;
    let mut options = vec![
        ("bucket", bucket.clone()),
        ("root", format!("/{prefix}")),
        ("endpoint", endpoint.clone()),
    ];
    match (&given.credentials_file, given.anonymous) {
        (Some(_), true) => {
            return Err(config(
                "`anonymous` and `credentials_file` are both given; give one of them",
            ));
        }
        (Some(file), false) => {
            use base64::Engine as _;
            let engine = base64::engine::general_purpose::STANDARD;
            options.push(("credential", engine.encode(params::secret(file)?)));
        }
        (None, true) => {
            options.push(("skip_signature", "true".to_owned()));
            options.push(("disable_config_load", "true".to_owned()));
            options.push(("disable_vm_metadata", "true".to_owned()));
        }
        (None, false) => {}
    }
    let slash = if prefix.is_empty() { "" } else { "/" };
    let named = format!("gs://{bucket}{slash}{prefix}");
    let place = Place {
        location: if endpoint == GOOGLE {
            named
        } else {
            format!("{named} at {endpoint}")
        },
        server: format!("{endpoint}|{bucket}"),
        prefix,
    };
    Ok((options, place))
}
