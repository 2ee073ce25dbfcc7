//! What is logged of jobs.

use serde_json::Value;
use tracing::{Span, error, error_span, info, trace, warn};
use wl_control::{EventKind, State};

use crate::{JobSpec, StorageSpec};

/// Around a run: whatever is logged in it says of which job, and between which storages.
pub(super) fn around(job: &str, spec: &JobSpec) -> Span {
    let name = |spec: &StorageSpec| {
        let described = spec.describe();
        let location = described["location"].as_str();
        location.map_or_else(
            || spec.type_name.clone(),
            |at| format!("{} {at}", spec.type_name),
        )
    };
    let names = spec.storages.as_ref().map(name);
    // At the highest level, so that it is there whatever is asked for.
    error_span!("run", job, source = names.source, target = names.target)
}

/// Logs what is told to clients. Names and reasons are quoted: they cannot begin a line of their own.
pub(super) fn log(kind: EventKind, job: &str, value: &Value) {
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    match kind {
        EventKind::State => log_state(job, value),
        EventKind::Conflict => {
            warn!(
                job,
                path = text("path"),
                reason = text("reason"),
                "conflict"
            );
        }
        EventKind::Error => warn!(
            job,
            storage = text("storage"),
            path = text("path"),
            operation = text("operation"),
            reason = text("reason"),
            "problem"
        ),
        EventKind::Progress | EventKind::Missed => trace!(job, value = %value, "progress"),
    }
}

fn log_state(job: &str, value: &Value) {
    let Ok((state, reason)) = serde_json::from_value::<(State, String)>(value.clone()) else {
        return;
    };
    let name = state.name();
    match state {
        State::Error => error!(job, state = name, reason, "state"),
        State::Paused => warn!(job, state = name, reason, "state"),
        _ => info!(job, state = name, reason, "state"),
    }
}
