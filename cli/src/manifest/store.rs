//! Manifests on disk: `BASE/containers/NAME.container.yaml`.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::NamedTempFile;

use super::{Container, Filters, check};
use crate::error::{CliError, CliResult};
use crate::output::escape;

const SUFFIX: &str = ".container.yaml";

/// The containers of a base directory.
#[derive(Debug)]
pub struct Store {
    base: PathBuf,
    folder: PathBuf,
}

impl Store {
    /// Those below `base`, which need not be there yet.
    pub fn new(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            folder: base.join("containers"),
        }
    }

    /// The base directory.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// The names of all containers, sorted.
    pub fn names(&self) -> CliResult<Vec<String>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &self.folder, &error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed("read", &self.folder, &error))?;
            let file = entry.file_name();
            let name = file.to_str().and_then(|file| file.strip_suffix(SUFFIX));
            names.extend(
                name.filter(|name| check::name(name).is_ok())
                    .map(str::to_owned),
            );
        }
        names.sort();
        Ok(names)
    }

    /// The manifest of `name`, checked.
    pub fn load(&self, name: &str) -> CliResult<Container> {
        check::name(name)?;
        let path = self.path(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.unknown(name));
            }
            Err(error) => return Err(failed("read", &path, &error)),
        };
        let broken = |why: String| CliError::Manifest(format!("{}: {why}", path.display()));
        let manifest: Value =
            serde_saphyr::from_str(&text).map_err(|error| broken(no_yaml(&error)))?;
        let faults = check::container(&manifest);
        if !faults.is_empty() {
            return Err(broken(faults.join("; ")));
        }
        serde_json::from_value(manifest)
            .map_err(|error| broken(format!("{error}; correct it by hand")))
    }

    /// Makes a container without storages. Returns the manifest's path.
    pub fn create(&self, name: &str, filters: Filters) -> CliResult<PathBuf> {
        check::name(name)?;
        make_private(&self.folder)?;
        let path = self.path(name);
        let mut container = Container::new(name);
        container.filters = filters;
        let file = self.written(&container)?;
        match file.persist_noclobber(&path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(CliError::Usage(format!(
                    "there is a container `{}` already ({}); choose another name",
                    escape(name),
                    path.display()
                )));
            }
            Err(error) => return Err(failed("write", &path, &error.error)),
        }
        self.sync_folder()?;
        Ok(path)
    }

    /// Takes a container's manifest away, whatever is in it.
    pub fn delete(&self, name: &str) -> CliResult<PathBuf> {
        check::name(name)?;
        let path = self.path(name);
        if !path.exists() {
            return Err(self.unknown(name));
        }
        let _lock = self.lock()?;
        // What is in a broken manifest is nobody's to know.
        let storages = self
            .load(name)
            .map_or_else(|_| Vec::new(), |it| it.storages().to_vec());
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.unknown(name));
            }
            Err(error) => return Err(failed("remove", &path, &error)),
        }
        self.sync_folder()?;
        self.forget_secrets(name, &storages)?;
        Ok(path)
    }

    /// Changes a container. Changes made at the same time wait for each other.
    pub fn change<T>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Container) -> CliResult<T>,
    ) -> CliResult<T> {
        // Said first: a container that is not there needs no lock, and no folder for it.
        self.load(name)?;
        let _lock = self.lock()?;
        let mut container = self.load(name)?;
        let result = change(&mut container)?;
        let path = self.path(name);
        let file = self.written(&container)?;
        file.persist(&path)
            .map_err(|error| failed("write", &path, &error.error))?;
        self.sync_folder()?;
        Ok(result)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{SUFFIX}"))
    }

    /// Held until it is dropped; the kernel lets go of it when the process dies.
    pub(super) fn lock(&self) -> CliResult<File> {
        let path = self.folder.join(".lock");
        File::create(&path)
            .and_then(|file| file.lock().map(|()| file))
            .map_err(|error| failed("lock", &path, &error))
    }

    /// The manifest in a temporary file beside its place, durable; only its owner can read it.
    fn written(&self, container: &Container) -> CliResult<NamedTempFile> {
        let text = serde_saphyr::to_string(container)
            .map_err(|error| CliError::Failed(format!("cannot write the manifest: {error}")))?;
        NamedTempFile::new_in(&self.folder)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.as_file().sync_all()?;
                Ok(file)
            })
            .map_err(|error| failed("write to", &self.folder, &error))
    }

    fn sync_folder(&self) -> CliResult<()> {
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| failed("make durable", &self.folder, &error))
    }

    fn unknown(&self, name: &str) -> CliError {
        let known = self.names().unwrap_or_default();
        let known = match known.is_empty() {
            true => format!(
                "make it with `wl container create {}`",
                crate::output::quote(name)
            ),
            false => {
                let known: Vec<_> = known.iter().map(|name| escape(name)).collect();
                format!("the containers are: {}", known.join(", "))
            }
        };
        CliError::Usage(format!("there is no container `{}`; {known}", escape(name)))
    }
}

/// Where the text stops to be YAML. The text itself is not repeated: it may hold secrets.
fn no_yaml(error: &serde_saphyr::Error) -> String {
    let at = error.location();
    let at = at.map(|at| format!("line {}, column {}: ", at.line(), at.column()));
    let why = match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { .. } => "a field is there twice",
        _ => "this is no YAML",
    };
    format!("{}{why}; correct it by hand", at.unwrap_or_default())
}

/// Makes a folder, and those above it, that only its owner can look into.
pub(super) fn make_private(folder: &Path) -> CliResult<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| failed("make", folder, &error))
}

pub(super) fn failed(doing: &str, path: &Path, error: &io::Error) -> CliError {
    let path = path.display();
    CliError::Failed(format!(
        "cannot {doing} {path}: {error}; correct that, or give another --base-dir"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::super::Storage;
    use super::*;

    #[test]
    fn odd_values_come_back_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        store.create("odd", Default::default()).unwrap();
        let values = [
            "yes",
            "null",
            "~",
            "1",
            "0x1f",
            "1e3",
            "",
            " a ",
            "a: b",
            "- a",
            "#a",
            "a\nb\n",
            "a\tb",
            "'",
            "\"",
            "\\",
            "{a}",
            "[a]",
            "&a",
            "*a",
            "!a",
            "%a",
            "@a",
            "`a`",
            "ü",
            "\u{7f}",
            "a\r",
            "2026-01-01",
            "=",
            "<<",
            "| a",
            "> a",
            "\u{feff}x",
            "x\u{85}y",
            "\u{1b}[2J",
        ];
        let mut params = Map::new();
        for (at, value) in values.iter().enumerate() {
            params.insert(format!("p{at}"), json!(value));
            params.insert((*value).to_owned() + "!", json!(at));
        }
        params.insert(
            "nested".to_owned(),
            json!({"a": [1, true, null, {"b": "no"}]}),
        );
        let storage = Storage::new("local", "x".to_owned(), params.clone());
        store.change("odd", |c| c.add(storage)).unwrap();
        let back = store.load("odd").unwrap();
        assert_eq!(back.storages()[0].params, params);
    }

    #[test]
    fn what_wl_does_not_know_survives_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let path = store.create("a", Default::default()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}\nowner: '0xabc'\ncategories: [/a]\n")).unwrap();
        let storage = Storage::new("local", "x".to_owned(), Map::new());
        store.change("a", |c| c.add(storage)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("0xabc") && text.contains("categories"),
            "{text}"
        );
    }

    #[test]
    fn changes_made_at_the_same_time_are_all_kept() {
        let dir = tempfile::tempdir().unwrap();
        Store::new(dir.path())
            .create("a", Default::default())
            .unwrap();
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let store = Store::new(dir.path());
                scope.spawn(move || {
                    for n in 0..10 {
                        let id = format!("w{worker}-{n}");
                        let storage = Storage::new("local", id, Map::new());
                        store.change("a", |c| c.add(storage)).unwrap();
                    }
                });
            }
        });
        let count = Store::new(dir.path()).load("a").unwrap().storages().len();
        assert_eq!(count, 40);
    }
}
