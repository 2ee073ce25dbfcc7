//! Containers whose storages are named by paths with a symbolic link in them, which is made to lead elsewhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::Home;

/// The link in the path of a storage: above its root, or at its end.
const LINKS: [&str; 2] = ["way", "way/below"];

/// A home whose container `box` has a local folder `plain` and another one that is named `way/below` and is `right/below`.
struct Place {
    home: Home,
    link: &'static str,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.home.run("stop");
    }
}

impl Place {
    /// `led`: which storage is named by the link.
    fn new(led: &str, link: &'static str) -> Self {
        let this = Self {
            home: Home::new(),
            link,
        };
        for folder in ["right/below", "wrong/below", "plain"] {
            fs::create_dir_all(this.home.path(folder)).unwrap();
        }
        this.write("right/below/a", "1");
        this.write("wrong/below/other", "of another tree");
        this.lead("right");
        this.home.ok("container create box");
        for name in ["source", "target"] {
            let folder = if name == led { "way/below" } else { "plain" };
            this.storage(name, folder);
        }
        this
    }

    fn storage(&self, name: &str, folder: &str) {
        let location = self.home.path(folder);
        let location = location.display();
        self.home.ok(&format!(
            "storage create local --container box --location {location} --backend-id {name} --watcher-interval 1"
        ));
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.home.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.home.path(name)).ok()
    }

    /// Has `way/below` lead to `below` in this folder.
    fn lead(&self, to: &str) {
        let target = match self.link {
            "way" => self.home.path(to),
            _ => self.home.path(to).join("below"),
        };
        let link = self.home.path(self.link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let made = self.home.path("made");
        symlink(target, &made).unwrap();
        fs::rename(made, link).unwrap();
    }

    fn once(&self, options: &str) -> (i32, Value) {
        let line = format!("container sync box --one-shot --max-delete 100% {options}");
        self.home.json(&line)
    }

    #[track_caller]
    fn synced(&self) {
        let (code, report) = self.once("");
        assert_eq!(
            (code, &report["result"]),
            (0, &"synced".into()),
            "{report:#}"
        );
    }

    /// A command is refused, and says why.
    #[track_caller]
    fn refused(&self, line: &str) {
        let done = self.home.run(line);
        assert_eq!(done.code, 1, "{line}: {done:?}");
        let folder = |name: &str| format!("led to {}", self.home.path(name).display());
        let leads = format!("leads to {} now", self.home.path("wrong/below").display());
        for said in [
            &*folder("right/below"),
            &leads,
            "put back what was there",
            "--accept-new-filesystem",
        ] {
            assert!(done.stderr.contains(said), "{line}: {said}: {done:?}");
        }
    }

    /// Nothing of the other folder came over, and nothing went there.
    #[track_caller]
    fn is_untouched(&self) {
        assert_eq!(self.read("plain/other"), None);
        assert_eq!(self.read("wrong/below/a"), None);
        assert_eq!(self.read("plain/a").as_deref(), Some("1"));
    }

    /// What remembers where the paths led.
    fn memory(&self) -> PathBuf {
        let state = fs::read_dir(self.home.base().join("state")).unwrap();
        let is_memory = |path: &PathBuf| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("led-")
        };
        let mut all = state.map(|entry| entry.unwrap().path()).filter(is_memory);
        let memory = all.next().unwrap();
        assert!(all.next().is_none());
        memory
    }
}

#[test]
fn a_single_run_is_refused_while_a_link_leads_elsewhere() {
    for (led, link) in [("source", LINKS[0]), ("target", LINKS[1])] {
        let place = Place::new(led, link);
        place.synced();
        place.lead("wrong");
        let once = "container sync box --one-shot --max-delete 100%";
        for options in [
            "",
            " --dry-run",
            " --mirror",
            " --unidirectional",
            " --allow-empty",
        ] {
            let (code, report) = place.home.json(&format!("{once}{options}"));
            assert_eq!(code, 1, "{report:#}");
            assert_eq!(report["error"]["class"], "root-changed", "{report:#}");
            place.refused(&format!("{once}{options}"));
        }
        place.refused("container resolve box a --keep source");
        place.refused("container list-conflicts box");
        place.refused("container list-conflicts box --force-scan");
        place.refused("explain box a");
        place.is_untouched();
        place.lead("right");
        place.write("plain/b", "2");
        place.synced();
        assert_eq!(place.read("right/below/b").as_deref(), Some("2"));
        place.is_untouched();
    }
}

#[test]
fn a_link_that_leads_elsewhere_is_accepted_once_and_is_what_is_remembered_then() {
    let place = Place::new("source", LINKS[0]);
    place.synced();
    place.lead("wrong");
    // Looking is not syncing.
    assert_eq!(place.once("--accept-new-filesystem --dry-run").0, 0);
    place.refused("container sync box --one-shot");
    assert_eq!(place.once("--accept-new-filesystem").0, 0);
    assert_eq!(place.read("wrong/below/a").as_deref(), Some("1"));
    place.synced();
    place.lead("right");
    let (code, report) = place.once("");
    assert_eq!(code, 1, "{report:#}");
    assert_eq!(report["error"]["class"], "root-changed", "{report:#}");
    assert_eq!(place.read("right/below/other"), None);
}

#[test]
fn a_memory_of_where_links_led_that_is_lost_or_damaged_refuses_nothing() {
    let nonsense: [Option<&[u8]>; 5] = [
        None,
        Some(b""),
        Some(b"\xff{"),
        Some(b"[7]"),
        Some(b"{\"source\": {\"identity\": 7}, \"target\": null}"),
    ];
    for damage in nonsense {
        let place = Place::new("target", LINKS[1]);
        place.synced();
        match damage {
            None => fs::remove_file(place.memory()).unwrap(),
            Some(text) => fs::write(place.memory(), text).unwrap(),
        }
        place.synced();
        // It is remembered anew.
        place.lead("wrong");
        place.refused("container sync box --one-shot");
        place.is_untouched();
        fs::remove_file(place.memory()).unwrap();
        place.synced();
    }
}

#[test]
fn what_was_changed_on_purpose_or_never_synced_is_a_beginning() {
    // Nothing was agreed on between two empty folders.
    let place = Place::new("source", LINKS[0]);
    fs::remove_file(place.home.path("right/below/a")).unwrap();
    place.synced();
    place.lead("wrong");
    place.synced();
    assert_eq!(
        place.read("plain/other").as_deref(),
        Some("of another tree")
    );
    // The manifest says another path.
    let place = Place::new("source", LINKS[1]);
    place.synced();
    let manifest = place.home.base().join("containers/box.container.yaml");
    let text = fs::read_to_string(&manifest).unwrap();
    let wrong = place.home.path("wrong/below");
    let was = place.home.path("way/below");
    let edited = text.replace(was.to_str().unwrap(), wrong.to_str().unwrap());
    assert_ne!(edited, text);
    fs::write(&manifest, edited).unwrap();
    place.synced();
    assert_eq!(place.read("wrong/below/a").as_deref(), Some("1"));
    // A storage that was added is named by the link that leads elsewhere.
    let place = Place::new("target", LINKS[0]);
    place.synced();
    place.lead("wrong");
    fs::create_dir(place.home.path("third")).unwrap();
    place.storage("third", "third");
    let (code, report) = place.once("--source-storage third --target-storage target");
    assert_eq!(code, 0, "{report:#}");
    assert!(place.read("third/other").is_some());
    place.is_untouched();
}
