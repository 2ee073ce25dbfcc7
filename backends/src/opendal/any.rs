//! Type `opendal`: any service in the table, by its scheme and opendal's own options.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use wl_core::model::ContentHash;
use wl_core::plugin::{BackendFactory, BackendPlugin, ConnectContext, KnownGrade};
use wl_core::storage::{Capabilities, Result, StorageBackend};

use super::store::Place;
use super::{config, params, parsed};
use crate::remote;

const TYPE: &str = "opendal";

struct Factory;

inventory::submit!(BackendPlugin(&Factory));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    scheme: String,
    #[serde(default)]
    options: BTreeMap<String, String>,
    #[serde(default)]
    location: String,
}

/// Options that say where, and are no secrets.
const WHERE: [&str; 8] = [
    "endpoint",
    "bucket",
    "container",
    "filesystem",
    "share_name",
    "account_name",
    "repo_name",
    "region",
];

#[async_trait]
impl BackendFactory for Factory {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn summary(&self) -> &'static str {
        "Any service that the built-in opendal reaches, by its scheme"
    }

    fn schema(&self) -> &'static str {
        include_str!("schemas/opendal.json")
    }

    fn at_best(&self) -> Capabilities {
        // Which service it is decides; some have folders, and some have copies under conditions.
        let all = super::services::schemes().map(super::at_best);
        all.reduce(better).unwrap_or_else(|| super::at_best(TYPE))
    }

    fn known_grade(&self, params: &Value, state_dir: &Path) -> Option<KnownGrade> {
        let given: Params = parsed(TYPE, params).ok()?;
        let facts = &super::service(&given.scheme).ok()?.facts;
        remote::known_grade(facts, &place(&given).ok()?.server, state_dir)
    }

    async fn connect(
        &self,
        params: &Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn StorageBackend>> {
        let given: Params = parsed(TYPE, params)?;
        let service = super::service(&given.scheme)?;
        if given.options.contains_key("root") {
            return Err(config("`root` is not an option here; give `location`"));
        }
        let place = place(&given)?;
        let root = ("root".to_owned(), format!("/{}", place.prefix));
        ::opendal::init_default_registry();
        let options = given.options.into_iter().chain([root]);
        let operator = ::opendal::Operator::via_iter(&given.scheme, options);
        super::connect(TYPE, service, operator, place, context).await
    }
}

/// What one or the other can do.
fn better(one: Capabilities, other: Capabilities) -> Capabilities {
    Capabilities {
        cas: one.cas.max(other.cas),
        list_order: one.list_order,
        listing_proves_absence: one.listing_proves_absence || other.listing_proves_absence,
        empty_folders: one.empty_folders || other.empty_folders,
        links: one.links || other.links,
        modes: one.modes || other.modes,
        mtime_resolution: one.mtime_resolution.or(other.mtime_resolution),
        rename: one.rename || other.rename,
        trash: one.trash || other.trash,
        // What it lacks at best: some fold case, and the best does not.
        folds_case: one.folds_case && other.folds_case,
        stages: one.stages || other.stages,
        writable: one.writable || other.writable,
    }
}

fn place(given: &Params) -> Result<Place> {
    let prefix = params::prefix("location", &given.location)?;
    let named = WHERE.iter().filter_map(|name| given.options.get(*name));
    let named: Vec<_> = named.map(String::as_str).collect();
    // Who is who is only in the secrets for some: two accounts must never be taken for one.
    let rest: Vec<_> = given.options.iter().collect();
    let account = ContentHash::of(format!("{rest:?}").as_bytes()).to_string();
    let account: String = account.chars().take(16).collect();
    let server = if named.is_empty() {
        format!("{}|{account}", given.scheme)
    } else {
        format!("{}|{}", given.scheme, named.join("|"))
    };
    Ok(Place {
        location: format!("{} {}/{prefix}", given.scheme, named.join(" ")),
        server,
        prefix,
    })
}
