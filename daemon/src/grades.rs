//! What is known of servers that were probed: how strong their compare-and-swap really is.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use wl_core::storage::CasGrade;

use crate::StorageSpec;

/// What a probe found.
#[derive(Deserialize)]
struct Probe {
    cas: CasGrade,
    /// Seconds since 1970.
    probed: u64,
}

/// Parameters that say which server and which place on it, in this order.
const PLACE: [&str; 8] = [
    "endpoint_url",
    "account_name",
    "scheme",
    "s3_url",
    "url",
    "bucket",
    "blob_container",
    "location",
];

/// The grade of a storage as it was last probed, and when (seconds since 1970). `None`: never, or nothing readable is left of it.
pub fn known_grade(base_dir: &Path, spec: &StorageSpec) -> Option<(CasGrade, u64)> {
    let text = fs::read(base_dir.join("state/servers.json")).ok()?;
    let all: Value = serde_json::from_slice(&text).ok()?;
    let probe = Probe::deserialize(all.get(identity(spec))?).ok()?;
    Some((probe.cas, probe.probed))
}

/// What stands for a storage among the probed ones; no secret is part of it.
fn identity(spec: &StorageSpec) -> String {
    let place = PLACE.iter().filter_map(|name| spec.params[*name].as_str());
    let mut words = vec![&*spec.type_name];
    words.extend(place);
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_grade_is_known_once_it_was_probed() {
        let dir = tempfile::tempdir().unwrap();
        let params = json!({"s3_url": "s3://b/p", "endpoint_url": "http://h", "credentials": {"secret_key": "hush"}});
        let spec = StorageSpec::new("s3", params);
        assert_eq!(known_grade(dir.path(), &spec), None);
        fs::create_dir(dir.path().join("state")).unwrap();
        let file = dir.path().join("state/servers.json");
        let known = json!({
            "s3 http://h s3://b/p": {"cas": "atomic", "probed": 5},
            "local /a": {"cas": "no grade", "probed": 5},
        });
        fs::write(&file, known.to_string()).unwrap();
        assert_eq!(known_grade(dir.path(), &spec), Some((CasGrade::Atomic, 5)));
        assert_eq!(known_grade(dir.path(), &StorageSpec::local("/a")), None);
        assert_eq!(known_grade(dir.path(), &StorageSpec::local("/b")), None);
        fs::write(&file, "no JSON").unwrap();
        assert_eq!(known_grade(dir.path(), &spec), None);
        assert!(!identity(&spec).contains("hush"));
    }
}
