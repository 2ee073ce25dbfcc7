//! Types that need nothing but opendal: parameters become its options.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use wl_core::plugin::{BackendFactory, ConnectContext, KnownGrade};
use wl_core::storage::{Capabilities, Result, StorageBackend};

use super::store::Place;
use super::{built, service};
use crate::remote;

/// opendal's options, and where they lead.
pub(super) type Reached = (Vec<(&'static str, String)>, Place);

/// Makes backends of a type that has the name of opendal's service.
pub(super) struct Plain {
    pub(super) type_name: &'static str,
    pub(super) summary: &'static str,
    pub(super) schema: &'static str,
    /// What the parameters of this type say.
    pub(super) reached: fn(&'static str, &Value) -> Result<Reached>,
}

#[async_trait]
impl BackendFactory for Plain {
    fn type_name(&self) -> &'static str {
        self.type_name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn schema(&self) -> &'static str {
        self.schema
    }

    fn at_best(&self) -> Capabilities {
        super::at_best(self.type_name)
    }

    fn known_grade(&self, params: &Value, state_dir: &Path) -> Option<KnownGrade> {
        let (_, place) = (self.reached)(self.type_name, params).ok()?;
        let facts = &service(self.type_name).ok()?.facts;
        remote::known_grade(facts, &place.server, state_dir)
    }

    async fn connect(
        &self,
        params: &Value,
        context: &ConnectContext,
    ) -> Result<Arc<dyn StorageBackend>> {
        let name = self.type_name;
        let (options, place) = (self.reached)(name, params)?;
        super::connect(name, service(name)?, built(name, options), place, context).await
    }
}
