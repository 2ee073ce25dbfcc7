//! What is remembered over restarts: the continuous jobs, in `state/jobs.json` below the base directory.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tempfile::Builder;
use wl_core::model::Sides;

use super::StartRequest;

/// The version of the file's form. A higher one is not touched.
const VERSION: u32 = 1;

/// The name under which the file is written before it takes the old one's place.
const NEW: &str = "jobs.json.new";

/// A job that survives the daemon.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Recorded {
    pub(super) start: StartRequest,
    /// A person wants it to rest.
    #[serde(default)]
    pub(super) paused: bool,
    /// The storages as they called themselves when the job reached them first. What makes no sense is as good as nothing: no job is given
    /// up for it.
    #[serde(
        default,
        deserialize_with = "if_it_makes_sense",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) begun: Option<Sides<String>>,
}

fn if_it_makes_sense<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<Sides<String>>, D::Error> {
    let value = Value::deserialize(field)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

#[derive(Serialize, Deserialize)]
struct Contents<J> {
    version: u32,
    jobs: Vec<J>,
}

/// A record of which something made no sense.
#[derive(Debug)]
pub(crate) struct Damage {
    /// Where a copy of it is.
    pub(crate) aside: PathBuf,
    /// The jobs that were given up, as far as they have names; all of them where nothing made sense.
    pub(crate) jobs: Vec<String>,
}

/// The jobs of which a record makes sense, and the names of the others. A name that comes again makes none: the first of them has it.
fn those_that_make_sense(records: Vec<Value>) -> (Vec<Recorded>, Vec<String>) {
    let (mut good, mut given_up) = (Vec::<Recorded>::new(), Vec::new());
    let mut taken = BTreeSet::new();
    for record in records {
        let name = record["start"]["job-id"].as_str().unwrap_or("?").to_owned();
        match serde_json::from_value::<Recorded>(record) {
            Ok(job) if taken.insert(job.start.job_id.clone()) => good.push(job),
            Ok(_) | Err(_) => given_up.push(name),
        }
    }
    (good, given_up)
}

/// The record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It was written by a newer wl.
    #[error(
        "{0} was written by a newer wl (version {1}); use that, or move the file away and start the jobs again"
    )]
    Newer(PathBuf, u32),
    /// It could not be read or written.
    #[error("{doing} {path}: {source}; check space and permissions of the base directory")]
    Io {
        /// What was done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The file.
#[derive(Clone, Debug)]
pub(super) struct Record {
    path: PathBuf,
}

impl Record {
    /// The record below a state folder.
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join("jobs.json"),
        }
    }

    /// Where a copy of it lies once something in it made no sense.
    pub(super) fn aside(&self) -> PathBuf {
        self.path.with_extension("json.damaged")
    }

    /// The recorded jobs, and what was damaged. No job is given up for another one's record.
    pub(super) fn load(&self) -> Result<(Vec<Recorded>, Option<Damage>), RecordError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), None)),
            Err(error) => return Err(self.failed("read", error)),
        };
        #[derive(Deserialize)]
        struct Form {
            version: u32,
        }
        if let Ok(Form { version }) = serde_json::from_slice(&text)
            && version > VERSION
        {
            return Err(RecordError::Newer(self.path.clone(), version));
        }
        // It is never torn by wl itself. What is in it may be of use to a person.
        let aside = self.aside();
        let Ok(contents) = serde_json::from_slice::<Contents<Value>>(&text) else {
            fs::rename(&self.path, &aside).map_err(|error| self.failed("move away", error))?;
            let jobs = Vec::new();
            return Ok((Vec::new(), Some(Damage { aside, jobs })));
        };
        let (good, given_up) = those_that_make_sense(contents.jobs);
        if given_up.is_empty() {
            return Ok((good, None));
        }
        // The others stay recorded meanwhile. It is told once: from now on these are not in it.
        fs::copy(&self.path, &aside).map_err(|error| self.failed("copy", error))?;
        self.save(good.clone())?;
        let jobs = given_up;
        Ok((good, Some(Damage { aside, jobs })))
    }

    /// Replaces the record as a whole, durably. Only its owner can read it: parameters may be secrets.
    pub(super) fn save(&self, jobs: Vec<Recorded>) -> Result<(), RecordError> {
        self.write(jobs)
            .map_err(|error| self.failed("write", error))
    }

    fn write(&self, jobs: Vec<Recorded>) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        // Always the same name, so that a daemon that was killed here leaves no more than the next one takes away.
        let _ = fs::remove_file(folder.join(NEW));
        let mut file = Builder::new()
            .prefix(NEW)
            .rand_bytes(0)
            .tempfile_in(folder)?;
        let version = VERSION;
        serde_json::to_writer_pretty(&mut file, &Contents { version, jobs })?;
        file.flush()?;
        file.as_file().sync_all()?;
        file.persist(&self.path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> RecordError {
        RecordError::Io {
            doing,
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    fn job(id: &str) -> Recorded {
        serde_json::from_value(json!({
            "start": {
                "container-name": "c", "job-id": id, "continuous": true, "unidirectional": false,
                "source": {"type": "local", "location": "/a"}, "target": {"type": "s3", "s3_url": "s3://b", "odd": [1]}
            },
            "paused": true
        }))
        .unwrap()
    }

    #[test]
    fn jobs_come_back_as_they_were_and_only_their_owner_can_read_them() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::new(&dir.path().join("state"));
        assert!(record.load().unwrap().0.is_empty());
        record.save(vec![job("a"), job("b")]).unwrap();
        let (jobs, aside) = record.load().unwrap();
        assert!(aside.is_none() && jobs.iter().all(|job| job.paused));
        let ids: Vec<_> = jobs.iter().map(|job| &*job.start.job_id).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(jobs[0].start.target.params["odd"], json!([1]));
        let mode = fs::metadata(&record.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn where_a_job_began_is_forgotten_if_it_makes_no_sense() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::new(dir.path());
        let right = json!({"source": "local:/a", "target": "s3|b"});
        for (begun, kept) in [
            (json!(7), false),
            (json!("local:/a"), false),
            (json!({"source": 1, "target": "s3|b"}), false),
            (json!({"source": "local:/a"}), false),
            (json!(null), false),
            (right, true),
        ] {
            let mut jobs = json!([job("a"), job("b")]);
            jobs[0]["begun"] = begun;
            let contents = json!({"version": VERSION, "jobs": jobs});
            fs::write(&record.path, contents.to_string()).unwrap();
            let (jobs, aside) = record.load().unwrap();
            assert!(aside.is_none(), "{contents}");
            let begun: Vec<_> = jobs.iter().map(|job| job.begun.is_some()).collect();
            assert_eq!(begun, [kept, false], "{contents}");
        }
    }

    #[test]
    fn a_job_whose_record_makes_no_sense_is_put_aside_alone() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::new(dir.path());
        let mut odd = json!(job("odd"));
        odd["start"]["continuous"] = json!("perhaps");
        let mut later = json!(job("later"));
        later["start"]["a-field-of-tomorrow"] = json!(1);
        for (nonsense, name) in [
            (json!(7), "?"),
            (json!(null), "?"),
            (json!([]), "?"),
            (json!({"start": 1}), "?"),
            (odd, "odd"),
            (later, "later"),
        ] {
            record.save(vec![job("a"), job("b")]).unwrap();
            let text = fs::read_to_string(&record.path).unwrap();
            let mut contents: Value = serde_json::from_str(&text).unwrap();
            contents["jobs"].as_array_mut().unwrap().insert(1, nonsense);
            fs::write(&record.path, contents.to_string()).unwrap();
            let ids = |jobs: &[Recorded]| -> Vec<_> {
                jobs.iter().map(|job| job.start.job_id.clone()).collect()
            };
            let (jobs, damage) = record.load().unwrap();
            assert_eq!(ids(&jobs), ["a", "b"], "{contents}");
            let Damage { aside, jobs } = damage.unwrap();
            assert_eq!(jobs, [name], "{contents}");
            assert_eq!(fs::read_to_string(&aside).unwrap(), contents.to_string());
            let mode = fs::metadata(&aside).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            // It is told once.
            let (jobs, damage) = record.load().unwrap();
            assert!(damage.is_none());
            assert_eq!(ids(&jobs), ["a", "b"]);
        }
    }

    /// Which of the two is meant nobody knows; both under one name could not be told apart.
    #[test]
    fn a_name_that_comes_again_in_the_record_is_put_aside_and_the_first_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::new(dir.path());
        let mut again = job("a");
        again.start.target.params["s3_url"] = json!("s3://another");
        record
            .save(vec![job("a"), again.clone(), job("b"), again])
            .unwrap();
        let (jobs, damage) = record.load().unwrap();
        let names: Vec<_> = jobs.iter().map(|job| &*job.start.job_id).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(jobs[0].start.target.params["s3_url"], json!("s3://b"));
        let Damage { aside, jobs } = damage.unwrap();
        assert_eq!(jobs, ["a", "a"]);
        assert!(fs::read_to_string(aside).unwrap().contains("s3://another"));
        let (jobs, damage) = record.load().unwrap();
        assert!(damage.is_none() && jobs.len() == 2);
    }

    #[test]
    fn what_a_killed_daemon_left_half_written_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::new(dir.path());
        fs::write(dir.path().join(NEW), "half").unwrap();
        record.save(vec![job("a")]).unwrap();
        assert_eq!(record.load().unwrap().0.len(), 1);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let mode = fs::metadata(&record.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_record_is_put_aside_and_a_newer_one_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::new(dir.path());
        for damaged in ["", "{", "[]", "{\"version\": 1}", "\u{0}"] {
            fs::write(&record.path, damaged).unwrap();
            let (jobs, aside) = record.load().unwrap();
            assert!(jobs.is_empty());
            assert_eq!(fs::read_to_string(aside.unwrap().aside).unwrap(), damaged);
        }
        let newer = "{\"version\": 2, \"jobs\": 7}";
        fs::write(&record.path, newer).unwrap();
        assert!(matches!(record.load(), Err(RecordError::Newer(_, 2))));
        assert_eq!(fs::read_to_string(&record.path).unwrap(), newer);
    }
}
