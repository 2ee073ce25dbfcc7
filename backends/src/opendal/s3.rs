//! Type `s3`: S3 and what speaks like it.

use std::env;
use std::path::Path;
use std::sync::Arc;

use ::opendal::{Operator, services::S3};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use wl_core::plugin::{BackendFactory, BackendPlugin, ConnectContext, KnownGrade};
use wl_core::storage::{Capabilities, Result, StorageBackend};

pub(super) use self::direct::{Direct, wants};
use super::store::Place;
use super::{config, params, parsed};
use crate::remote::{self, RemoteBackend};

mod direct;
mod profile;
#[cfg(test)]
pub(super) mod tests;

const TYPE: &str = "s3";
/// Where S3 itself is; opendal puts the region in.
const AMAZON: &str = "https://s3.amazonaws.com";
/// What servers that are not Amazon's expect.
const REGION: &str = "us-east-1";

struct Factory;

inventory::submit!(BackendPlugin(&Factory));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    s3_url: String,
    endpoint_url: Option<String>,
    region: Option<String>,
    credentials: Option<Credentials>,
    credentials_file: Option<String>,
    profile: Option<String>,
    addressing: Option<Addressing>,
    #[serde(default)]
    anonymous: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Addressing {
    Path,
    Virtual,
}

#[async_trait]
impl BackendFactory for Factory {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn summary(&self) -> &'static str {
        "A bucket of S3, or of a server that speaks like it, and a prefix in it"
    }

    fn schema(&self) -> &'static str {
        include_str!("schemas/s3.json")
    }

    fn at_best(&self) -> Capabilities {
        super::at_best(TYPE)
    }

    fn known_grade(&self, params: &Value, state_dir: &Path) -> Option<KnownGrade> {
        let settings = Settings::of(parsed(TYPE, params).ok()?, &Environment).ok()?;
        let facts = &super::service(TYPE).ok()?.facts;
        remote::known_grade(facts, &settings.place().server, state_dir)
    }

    async fn connect(
        &self,
        params: &Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn StorageBackend>> {
        let settings = Settings::of(parsed(TYPE, params)?, &Environment)?;
        let place = settings.place();
        let operator = Operator::new(settings.builder());
        let mut store = super::store(TYPE, super::service(TYPE)?, operator, place)?;
        let http = store.operator.context().http_transport().clone();
        store.direct = Some(Direct::new(&settings, http));
        let backend = RemoteBackend::connect(TYPE, Arc::new(store), context).await?;
        Ok(Arc::new(backend))
    }
}

/// Where settings come from that the parameters do not give.
trait Surroundings {
    fn variable(&self, name: &str) -> Option<String>;
    fn file(&self, path: &str) -> Option<String>;
}

struct Environment;

impl Surroundings for Environment {
    fn variable(&self, name: &str) -> Option<String> {
        env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn file(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(path).ok()
    }
}

/// What a connection needs.
struct Settings {
    bucket: String,
    prefix: String,
    endpoint: Url,
    region: String,
    path_style: bool,
    anonymous: bool,
    profile: Option<String>,
    credentials: Option<Credentials>,
}

impl Settings {
    fn of(given: Params, around: &dyn Surroundings) -> Result<Self> {
        let (bucket, prefix) = address(&given.s3_url)?;
        let credentials =
            params::credentials(given.credentials, given.credentials_file.as_deref())?;
        if given.anonymous && credentials.is_some() {
            return Err(config(
                "`anonymous` and credentials are both given; give one of them",
            ));
        }
        if given.profile.is_some() && around.variable("AWS_ACCESS_KEY_ID").is_some() {
            // Whichever was taken, it could be the wrong account.
            return Err(config(
                "`profile` is given, and the environment has AWS_ACCESS_KEY_ID, which goes before every profile; unset one of the two",
            ));
        }
        let profile = given.profile.or_else(|| around.variable("AWS_PROFILE"));
        let stored = profile::read(profile.as_deref(), around)?;
        let endpoint = given
            .endpoint_url
            .or_else(|| around.variable("AWS_ENDPOINT_URL_S3"))
            .or_else(|| around.variable("AWS_ENDPOINT_URL"))
            .or(stored.endpoint_url);
        let own = endpoint.is_some();
        let region = given
            .region
            .or_else(|| around.variable("AWS_REGION"))
            .or_else(|| around.variable("AWS_DEFAULT_REGION"))
            .or(stored.region)
            .or_else(|| own.then(|| REGION.to_owned()));
        Ok(Self {
            bucket,
            prefix,
            endpoint: params::endpoint("endpoint_url", endpoint.as_deref().unwrap_or(AMAZON))?,
            region: region.ok_or_else(|| {
                config("the bucket's region is not known; give `region`, or set AWS_REGION")
            })?,
            path_style: match given.addressing {
                Some(addressing) => matches!(addressing, Addressing::Path),
                None => own,
            },
            anonymous: given.anonymous,
            profile,
            credentials,
        })
    }

    fn builder(&self) -> S3 {
        let mut builder = S3::default()
            .bucket(&self.bucket)
            .root(&format!("/{}", self.prefix))
            .endpoint(&params::text(&self.endpoint))
            .region(&self.region);
        if !self.path_style {
            builder = builder.enable_virtual_host_style();
        }
        if self.anonymous {
            return builder.skip_signature().disable_config_load();
        }
        let Some(credentials) = &self.credentials else {
            return match &self.profile {
                Some(profile) => builder.profile(profile),
                None => builder,
            };
        };
        builder = builder
            .access_key_id(&credentials.access_key)
            .secret_access_key(&credentials.secret_key)
            .disable_config_load()
            .disable_ec2_metadata();
        match &credentials.session_token {
            Some(token) => builder.session_token(token),
            None => builder,
        }
    }

    /// Buckets of Amazon are known by their name alone; elsewhere the server is a part of it.
    fn place(&self) -> Place {
        let endpoint = params::text(&self.endpoint);
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        let named = format!("s3://{}{slash}{}", self.bucket, self.prefix);
        Place {
            location: if endpoint == AMAZON {
                named
            } else {
                format!("{named} at {endpoint}")
            },
            server: format!("{endpoint}|{}", self.bucket),
            prefix: self.prefix.clone(),
        }
    }
}

/// Bucket and prefix of `s3://bucket/prefix`.
fn address(text: &str) -> Result<(String, String)> {
    let wrong = || config("`s3_url` is no address of a bucket; give s3://bucket/prefix");
    let rest = text.strip_prefix("s3://").ok_or_else(wrong)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bucket.is_empty() || !bucket.chars().all(fits) {
        return Err(wrong());
    }
    Ok((bucket.to_owned(), params::prefix("s3_url", prefix)?))
}
