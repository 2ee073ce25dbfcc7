//! A daemon of wl, and a connection to it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::processes::Tree;
use crate::Result;

/// A daemon and a connection to it.
pub struct Daemon {
    child: Child,
    reader: BufReader<UnixStream>,
}

impl Daemon {
    /// Starts one; it listens when this returns.
    pub fn start(wl: &Path, base: &Path) -> Result<Self> {
        let mut child = Command::new(wl)
            .args(["daemon", "--announce", "--base-dir"])
            .arg(base)
            // As `wl start` has it.
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        let out = child.stdout.take().ok_or("the daemon has no stdout")?;
        BufReader::new(out).read_line(&mut said)?;
        if said != "ready\n" {
            return Err(format!("the daemon did not start: {said}").into());
        }
        let stream = UnixStream::connect(base.join("run/wl.sock"))?;
        let reader = BufReader::new(stream);
        Ok(Self { child, reader })
    }

    /// The answer to a command.
    pub fn ask(&mut self, cmd: &str, args: Value) -> Result<Value> {
        let request = json!({ "cmd": cmd, "args": args, "id": 1 });
        let stream = self.reader.get_mut();
        stream.write_all(format!("{request}\n\n").as_bytes())?;
        loop {
            let message = self.message()?;
            if message["id"] == 1 {
                return match message.get("result") {
                    Some(result) => Ok(result.clone()),
                    None => Err(format!("{cmd}: {}", message["error"]).into()),
                };
            }
        }
    }

    fn message(&mut self) -> Result<Value> {
        let mut text = String::new();
        while !text.ends_with("\n\n") {
            if self.reader.read_line(&mut text)? == 0 {
                return Err("the daemon has ended".into());
            }
        }
        Ok(serde_json::from_str(&text)?)
    }

    /// Its processes.
    pub fn tree(&self) -> Tree {
        Tree::of(vec![self.child.id()])
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It is ours, and what it knows goes away with the room.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
