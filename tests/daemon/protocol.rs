//! Replays the transcripts of `docs/protocol.md`.
//!
//! In a block ```` ```transcript ````, which is a connection of its own: `$` is a shell command, `->` a request as it is sent, `<-` a message
//! that must come next, `<- ...` any events before the next one. `[NAME]` stands for a path, or in an expected message for any number.

use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::raw::{LATE, Raw};
use crate::schemas::source;
use crate::world::World;

fn blocks(text: &str) -> Vec<Vec<&str>> {
    let parts = text.split("```transcript\n").skip(1);
    let block = |part: &'_ str| part.find("\n```").unwrap();
    parts
        .map(|part| part[..block(part)].lines().collect())
        .collect()
}

/// Whether a message is as expected: `"[NUMBER]"` and the like stand for any number, `"[TEXT]"` for any text.
fn fits(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::String(any), Value::Number(_)) => ["[NUMBER]", "[TIME]", "[PID]"].contains(&&**any),
        (Value::String(any), Value::String(_)) if any == "[TEXT]" => true,
        (Value::Object(expected), Value::Object(found)) => {
            expected.len() == found.len()
                && expected
                    .iter()
                    .all(|(name, value)| found.get(name).is_some_and(|found| fits(value, found)))
        }
        (Value::Array(expected), Value::Array(found)) => {
            expected.len() == found.len() && expected.iter().zip(found).all(|(a, b)| fits(a, b))
        }
        (expected, found) => expected == found,
    }
}

struct Replay<'a> {
    world: &'a World,
    raw: Raw,
    /// Other events may come before what is expected.
    skips: bool,
}

impl Replay<'_> {
    async fn line(&mut self, line: &str) {
        let line = line.replace("[DIR]", self.world.dir.path().to_str().unwrap());
        if let Some(command) = line.strip_prefix("$ ") {
            let mut shell = std::process::Command::new("sh");
            let done = shell
                .args(["-ec", command])
                .current_dir(self.world.dir.path())
                .status();
            assert!(done.unwrap().success(), "{command}");
        } else if let Some(request) = line.strip_prefix("-> ") {
            serde_json::from_str::<Value>(request)
                .unwrap_or_else(|error| panic!("{error}: {request}"));
            self.raw.send(format!("{request}\n\n")).await;
        } else if line == "<- ..." {
            self.skips = true;
        } else if let Some(expected) = line.strip_prefix("<- ") {
            let expected = expected
                .replace("[NUMBER]", "\"[NUMBER]\"")
                .replace("[TIME]", "\"[TIME]\"");
            let expected = expected.replace("[PID]", "\"[PID]\"");
            let expected = serde_json::from_str(&expected)
                .unwrap_or_else(|error| panic!("{error}: {expected}"));
            self.expect(&expected).await;
        } else {
            assert!(line.is_empty() || line.starts_with('#'), "{line}");
        }
    }

    async fn expect(&mut self, expected: &Value) {
        let mut skipped = Vec::new();
        let deadline = Instant::now() + LATE;
        loop {
            let found = timeout_at(deadline, self.raw.message()).await;
            let Ok(Some(found)) = found else {
                panic!("expected {expected}\nin       {skipped:#?}");
            };
            if fits(expected, &found) {
                self.skips = false;
                return;
            }
            // An event may come before any answer.
            let skips = self.skips || expected.get("event").is_none();
            let may_come = skips && found.get("event").is_some();
            assert!(may_come, "expected {expected}\nfound    {found}");
            skipped.push(found.to_string());
        }
    }
}

#[tokio::test]
async fn the_transcripts_of_the_documentation_are_true() {
    let text = std::fs::read_to_string(source("docs/protocol.md")).unwrap();
    let blocks = blocks(&text);
    assert!(blocks.len() >= 3, "{}", blocks.len());
    let mut world = World::new().await;
    for block in &blocks {
        let mut replay = Replay {
            raw: Raw::connect(&world).await,
            world: &world,
            skips: false,
        };
        for line in block {
            replay.line(line).await;
        }
    }
    // The last thing that it tells about is the end.
    world.ended().await;
    assert!(!world.socket().exists());
}

#[tokio::test]
async fn the_documentation_tells_of_every_command_class_and_event() {
    let text = std::fs::read_to_string(source("docs/protocol.md")).unwrap();
    let commands: Value = serde_json::from_str(wl_control::COMMANDS).unwrap();
    for (command, _) in commands["args"].as_object().unwrap() {
        assert!(text.contains(&format!("| `{command}` |")), "{command}");
    }
    for word in [
        "malformed",
        "unknown-command",
        "usage",
        "unknown-job",
        "job-exists",
        "failed",
        "state",
        "progress",
        "conflict",
        "error",
        "missed",
        "STOPPED",
        "RUNNING",
        "SYNCED",
        "ONE_SHOT",
        "ERROR",
        "PAUSED",
    ] {
        assert!(text.contains(word), "{word}");
    }
}
