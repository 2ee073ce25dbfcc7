//! What a job leaves out on its own account.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wl_core::model::{Sides, SyncPath};
use wl_core::storage::Filter;
use wl_core::sync::{SyncError, SyncErrorClass};

use crate::StorageSpec;

/// Leaves out the base directory where it lies inside a storage. A run writes to it all the time, and what one machine
/// remembers means nothing on another.
#[derive(Debug)]
struct WithoutBase {
    /// Where it is below the roots; on both sides, so that what one has left out is not taken for missing on the other.
    paths: Vec<SyncPath>,
    also: Arc<dyn Filter>,
}

impl Filter for WithoutBase {
    fn excludes(&self, path: &SyncPath, folder: bool) -> bool {
        self.paths.contains(path) || self.also.excludes(path, folder)
    }

    fn reason(&self, path: &SyncPath, folder: bool) -> Option<String> {
        match self.paths.contains(path) {
            true => Some("wl itself: it is the base directory".to_owned()),
            false => self.also.reason(path, folder),
        }
    }
}

/// Refuses a storage that is itself the base directory.
pub(crate) fn check_not_base(base: &Path, storages: &Sides<StorageSpec>) -> Result<(), SyncError> {
    for storage in [&storages.source, &storages.target] {
        if let Some(place) = place_inside(base, storage)
            && place.as_os_str().is_empty()
        {
            return Err(SyncError::new(
                SyncErrorClass::Usage,
                format!(
                    "the storage {} is the base directory, which holds what wl remembers; give another with --base-dir",
                    base.display()
                ),
            ));
        }
    }
    Ok(())
}

/// `filter`, and the base directory if it lies inside one of the storages. The base directory must be there.
pub(crate) fn without_base(
    base: &Path,
    storages: &Sides<StorageSpec>,
    filter: &Arc<dyn Filter>,
) -> Arc<dyn Filter> {
    let places = [&storages.source, &storages.target].map(|storage| place_inside(base, storage));
    // A place that is not UTF-8 is never synced in any case.
    let place = |place: &PathBuf| SyncPath::new(place.to_str()?).ok();
    let paths: Vec<_> = places.iter().flatten().filter_map(place).collect();
    let also = Arc::clone(filter);
    match paths.is_empty() {
        true => also,
        false => Arc::new(WithoutBase { paths, also }),
    }
}

/// Where the base directory is below a storage's root, whatever links lead to them.
fn place_inside(base: &Path, storage: &StorageSpec) -> Option<PathBuf> {
    let root = fs::canonicalize(storage.local_folder()?).ok()?;
    let base = fs::canonicalize(base).ok()?;
    base.strip_prefix(root).map(Path::to_owned).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use wl_core::storage::NoFilter;

    use super::*;

    fn storages(roots: [&Path; 2]) -> Sides<StorageSpec> {
        let storage = |root: &Path| StorageSpec::local(root.to_str().unwrap());
        Sides::new(storage(roots[0]), storage(roots[1]))
    }

    fn filter(base: &Path, roots: [&Path; 2]) -> Arc<dyn Filter> {
        without_base(
            base,
            &storages(roots),
            &(Arc::new(NoFilter) as Arc<dyn Filter>),
        )
    }

    fn excludes(filter: &Arc<dyn Filter>, path: &str) -> bool {
        filter.excludes(&SyncPath::new(path).unwrap(), true)
    }

    #[test]
    fn a_base_directory_inside_a_storage_is_left_out_however_it_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir_all(a.join("x/base")).unwrap();
        fs::create_dir(&b).unwrap();
        symlink(&a, dir.path().join("link")).unwrap();
        for base in ["a/x/base", "a/x/../x/base", "link/x/base"] {
            for roots in [[&*a, &*b], [&*b, &*a]] {
                let filter = filter(&dir.path().join(base), roots);
                assert!(excludes(&filter, "x/base"), "{base}");
                assert!(!excludes(&filter, "x"), "{base}");
                assert!(!excludes(&filter, "x/base2"), "{base}");
            }
        }
    }

    #[test]
    fn a_base_directory_elsewhere_leaves_nothing_out() {
        let dir = tempfile::tempdir().unwrap();
        let [a, ab, b] = ["a", "ab", "b"].map(|name| dir.path().join(name));
        for folder in [&a, &ab, &b] {
            fs::create_dir(folder).unwrap();
        }
        let filter = filter(&ab, [&a, &b]);
        assert!(!excludes(&filter, "b"));
    }

    #[test]
    fn a_storage_that_is_the_base_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let b = dir.path().join("b");
        fs::create_dir(&b).unwrap();
        let error = check_not_base(&b, &storages([dir.path(), &b])).unwrap_err();
        assert_eq!(error.class, SyncErrorClass::Usage);
        assert!(error.desc.contains("--base-dir"), "{error}");
    }
}
