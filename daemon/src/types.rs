//! The storage types that a wl may have. Which of them it has is chosen when it is built, one cargo feature a type.

use wl_core::plugin::{BackendFactory, Registry, RegistryError};

use crate::registry;

/// The types beyond those that every build has. The feature of a type has its name.
pub(crate) const OPTIONAL: [&str; 11] = [
    "azblob", "dropbox", "ftp", "gcs", "gdrive", "http", "onedrive", "opendal", "s3", "sftp",
    "webdav",
];

/// Types that can be read and never written to.
const READ_ONLY: [&str; 1] = ["http"];

/// Types that exist for tests.
const FOR_TESTS: [&str; 1] = ["memory"];

/// There is no such type here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// wl may have the type, but this one was built without it.
    #[error(
        "this wl was built without storage type `{name}`; build it with the cargo feature `{name}` (`cargo build --release -p wl --features {name}`), or use a type it has: {known}"
    )]
    NotBuilt {
        /// The type.
        name: &'static str,
        /// What there is.
        known: String,
    },
    /// Nobody knows the type, or the registry is no good.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Whether nothing can be written to storages of this type.
pub fn is_read_only(type_name: &str) -> bool {
    READ_ONLY.contains(&type_name)
}

/// Whether the type is of use in tests only.
pub fn is_for_tests(type_name: &str) -> bool {
    FOR_TESTS.contains(&type_name)
}

/// The storage type `name` of this program.
pub fn backend(name: &str) -> Result<&'static dyn BackendFactory, TypeError> {
    find(&registry()?, name)
}

/// The storage type `name` of a registry.
pub(crate) fn find(
    registry: &Registry,
    name: &str,
) -> Result<&'static dyn BackendFactory, TypeError> {
    registry.backend(name).map_err(|error| {
        let known = registry.backends().map(BackendFactory::type_name);
        let known: Vec<_> = known.filter(|name| !is_for_tests(name)).collect();
        let known = known.join(", ");
        match OPTIONAL.iter().find(|optional| **optional == name) {
            Some(name) => TypeError::NotBuilt { name, known },
            None => match error {
                RegistryError::UnknownType { name, .. } => {
                    RegistryError::UnknownType { name, known }.into()
                }
                other => other.into(),
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_linked_type_is_known_here() {
        for factory in registry().unwrap().backends() {
            let name = factory.type_name();
            // `place` is what the tests of jobs register.
            let every = name == crate::LOCAL || is_for_tests(name) || name == "place";
            assert!(every || OPTIONAL.contains(&name), "{name}");
        }
    }

    #[test]
    fn a_type_that_was_left_out_is_told_from_one_that_nobody_knows() {
        assert!(backend(crate::LOCAL).is_ok());
        let Err(error) = backend("tape") else {
            panic!("there is no such type")
        };
        assert!(matches!(error, TypeError::Registry(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains("local") && !text.contains("memory"), "{text}");
        for name in OPTIONAL {
            // Which are linked is the build's to say.
            if let Err(error) = backend(name) {
                let text = error.to_string();
                assert!(text.contains(&format!("feature `{name}`")), "{text}");
                assert!(text.contains("local") && !text.contains("memory"), "{text}");
            }
        }
    }
}
