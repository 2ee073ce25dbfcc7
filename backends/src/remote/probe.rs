//! What a server really does with conditions: tried once, remembered, never assumed.

use wl_core::plugin::ConnectContext;
use wl_core::storage::Result;

use super::store::Conditions;
use super::wire::Wire;

/// The conditions that work here.
pub(super) async fn conditions(wire: &Wire, context: &ConnectContext) -> Result<Conditions> {
    let facts = wire.facts();
    let _ = context;
    if facts.probe {
        return Ok(Conditions::default());
    }
    Ok(facts.conditions)
}
