//! What is known of storages that were probed: how strong their compare-and-swap really is. Only shown: a run finds it out by itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::NamedTempFile;
use wl_core::storage::CasGrade;
use wl_core::sync::{SyncError, SyncErrorClass};

use crate::StorageSpec;

/// What a probe found.
#[derive(Deserialize, Serialize)]
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

/// The file below the base directory.
const FILE: &str = "state/grades.json";

/// The grade of a storage as it was last probed, and when (seconds since 1970). `None`: never, or nothing readable is left of it.
pub fn known_grade(base_dir: &Path, spec: &StorageSpec) -> Option<(CasGrade, u64)> {
    let text = fs::read(base_dir.join(FILE)).ok()?;
    let all: Value = serde_json::from_slice(&text).ok()?;
    let probe = Probe::deserialize(all.get(identity(spec))?).ok()?;
    Some((probe.cas, probe.probed))
}

/// Notes the grade that a storage had when it was connected to be written to.
pub(crate) fn remember_grade(
    base_dir: &Path,
    spec: &StorageSpec,
    cas: CasGrade,
) -> Result<(), SyncError> {
    let path = base_dir.join(FILE);
    let failed = |error: &dyn std::fmt::Display| {
        SyncError::new(
            SyncErrorClass::State,
            format!(
                "cannot note the grade in {}: {error}; check the base directory",
                path.display()
            ),
        )
    };
    if known_grade(base_dir, spec).is_some_and(|(known, _)| known == cas) {
        return Ok(());
    }
    let text = fs::read(&path).unwrap_or_default();
    // What cannot be read is only shown to people, and is found out again.
    let mut all: BTreeMap<String, Value> = serde_json::from_slice(&text).unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let probed = now.unwrap_or_default().as_secs();
    let probe = serde_json::to_value(Probe { cas, probed }).map_err(|error| failed(&error))?;
    all.insert(identity(spec), probe);
    let text = serde_json::to_vec_pretty(&all).map_err(|error| failed(&error))?;
    let folder = path.parent().unwrap_or(base_dir);
    let mut file = NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    file.write_all(&text).map_err(|error| failed(&error))?;
    file.persist(&path).map_err(|error| failed(&error.error))?;
    Ok(())
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
    fn what_is_remembered_is_known_and_replaces_what_was() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        let specs =
            ["s3://b/p", "s3://b/q"].map(|url| StorageSpec::new("s3", json!({"s3_url": url})));
        for cas in [CasGrade::Checked, CasGrade::Atomic] {
            for spec in &specs {
                remember_grade(dir.path(), spec, cas).unwrap();
                assert_eq!(known_grade(dir.path(), spec).unwrap().0, cas);
            }
        }
        fs::write(dir.path().join(FILE), "no JSON").unwrap();
        remember_grade(dir.path(), &specs[0], CasGrade::Checked).unwrap();
        assert_eq!(
            known_grade(dir.path(), &specs[0]).unwrap().0,
            CasGrade::Checked
        );
    }

    #[test]
    fn a_grade_is_known_once_it_was_probed() {
        let dir = tempfile::tempdir().unwrap();
        let params = json!({"s3_url": "s3://b/p", "endpoint_url": "http://h", "credentials": {"secret_key": "hush"}});
        let spec = StorageSpec::new("s3", params);
        assert_eq!(known_grade(dir.path(), &spec), None);
        fs::create_dir(dir.path().join("state")).unwrap();
        let file = dir.path().join("state/grades.json");
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
