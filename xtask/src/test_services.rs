//! `cargo xtask test-services`: the heavier servers, one after the other: the contract, races and whole runs of `wl` on each.
//!
//! The tests are in `backends/tests/services/`. Each prints one line with its result; here they become a table.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run::{cargo, output, run, workspace};
use crate::{Result, services};

const USAGE: &str =
    "usage: cargo xtask test-services [--only NAME,...] [--install] [--allow-missing]";

/// The tests, by the server's name, and the programs that each needs.
const SERVERS: [(&str, &str); 8] = [
    ("seaweedfs", "weed"),
    ("rclone_s3", "rclone"),
    ("azurite", "azurite-blob"),
    ("fake_gcs", "fake-gcs-server"),
    ("openssh", "sshd"),
    ("apache", "apache2"),
    ("rclone_webdav", "rclone"),
    ("vsftpd", "vsftpd"),
];

/// No server may take longer.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// What is asked for.
#[derive(Debug, Default, PartialEq)]
struct Options {
    only: Vec<String>,
    install: bool,
    allow_missing: bool,
}

pub fn main(args: &[String]) -> Result<()> {
    let options = options(args)?;
    if options.install {
        services::main(&["install".to_owned()])?;
    }
    let chosen = SERVERS.iter().filter(|(name, _)| {
        options.only.is_empty() || options.only.iter().any(|only| only == name)
    });
    let (there, missing): (Vec<_>, Vec<_>) = chosen.partition(|(_, program)| has(program));
    let (test, wl) = built()?;
    let mut rows = Vec::new();
    for (name, _) in there {
        rows.push(row(name, &tested(name, &test, &wl)?));
    }
    rows.extend(missing.iter().map(|(name, program)| {
        let what = format!("MISSING: {program} is not installed");
        [name, "-", "-", "-", "-", what.as_str()].map(str::to_owned)
    }));
    print!("\n{}", table(&rows));
    let failed = rows.iter().filter(|row| row[5] != "ok").count();
    let excused = if options.allow_missing {
        missing.len()
    } else {
        0
    };
    if failed > excused {
        return Err("not every server passed; missing ones: cargo xtask services install, or --allow-missing".into());
    }
    Ok(())
}

fn options(args: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--install" => options.install = true,
            "--allow-missing" => options.allow_missing = true,
            "--only" => {
                let names = args.next().ok_or(USAGE)?;
                options.only.extend(names.split(',').map(str::to_owned));
            }
            _ => return Err(USAGE.into()),
        }
    }
    let known = |name: &str| SERVERS.iter().any(|(known, _)| *known == name);
    match options.only.iter().find(|name| !known(name)) {
        None => Ok(options),
        Some(name) => {
            let names = SERVERS.map(|(name, _)| name).join(", ");
            Err(format!("there is no server `{name}`; the servers are: {names}").into())
        }
    }
}

/// Whether a program is where the tests look for it.
fn has(program: &str) -> bool {
    let services = services::dir();
    let ours =
        ["", "bin", "python/bin", "npm/node_modules/.bin"].map(|folder| services.join(folder));
    let system = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = ours
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(system);
    all.any(|folder| folder.join(program).is_file())
}

/// The program of the tests and `wl`.
fn built() -> Result<(PathBuf, PathBuf)> {
    run(&mut cargo(&["build", "-p", "wl", "--all-features"]))?;
    let tests = [
        "test",
        "-p",
        "wl-backends",
        "--all-features",
        "--test",
        "services",
        "--no-run",
        "--message-format=json",
    ];
    let messages = output(&mut cargo(&tests))?;
    let test = program(&messages, "services").ok_or("cargo does not say where the tests are")?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), PathBuf::from);
    Ok((test, target.join("debug/wl")))
}

/// The program of target `name` in what cargo said.
fn program(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages
        .lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter(|message| message["target"]["name"] == name);
    programs.find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
}

/// The result of one server's tests. What else they print is passed on.
fn tested(name: &str, test: &Path, wl: &Path) -> Result<Value> {
    eprintln!("+ {name}");
    let mut command = std::process::Command::new(test);
    command
        .args(["--ignored", "--exact", name, "--nocapture"])
        .env("WL_BIN", wl)
        .env("WL_SERVICES_DIR", services::dir())
        .current_dir(workspace().join("backends"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let result = result_of(&mut child);
    // Its servers end with it, unless it has to be killed.
    let _ = child.kill();
    let status = child.wait()?;
    let why = match result {
        Some(result) => return Ok(result),
        None if status.success() => "it printed no result",
        None => "it ended early, or took too long",
    };
    Ok(serde_json::json!({"failures": [why]}))
}

/// Reads what a child prints until it ends or its time is over.
fn result_of(child: &mut Child) -> Option<Value> {
    let (sender, lines) = mpsc::channel();
    let stdout = BufReader::new(child.stdout.take()?);
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(std::result::Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let end = Instant::now() + LIMIT;
    let mut result = None;
    while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
        match line.strip_prefix("RESULT ") {
            Some(text) => result = serde_json::from_str(text).ok(),
            None => println!("{line}"),
        }
    }
    result
}

fn row(name: &str, result: &Value) -> [String; 6] {
    let text = |field: &str| result[field].as_str().unwrap_or("-").to_owned();
    let failures = result["failures"].as_array().map_or(1, Vec::len);
    for failure in result["failures"].as_array().into_iter().flatten() {
        eprintln!("{name}: {}", failure.as_str().unwrap_or_default());
    }
    let verdict = match failures {
        0 => "ok".to_owned(),
        number => format!("FAILED: {number}"),
    };
    [
        name.to_owned(),
        text("grade"),
        text("promises"),
        text("races"),
        text("runs"),
        verdict,
    ]
}

fn table(rows: &[[String; 6]]) -> String {
    let heads = [
        "server",
        "grade",
        "promises kept",
        "rounds",
        "whole runs",
        "result",
    ];
    let mut text = format!(
        "| {} |\n|{}\n",
        heads.join(" | "),
        "---|".repeat(heads.len())
    );
    for row in rows {
        text += &format!("| {} |\n", row.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(args: &[&str]) -> Result<Options> {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        options(&args)
    }

    #[test]
    fn servers_are_chosen_by_name() {
        assert_eq!(given(&[]).unwrap(), Options::default());
        let options = given(&["--only", "apache,openssh", "--allow-missing"]).unwrap();
        assert_eq!(options.only, ["apache", "openssh"]);
        assert!(options.allow_missing && !options.install);
        let error = given(&["--only", "nginx"]).unwrap_err().to_string();
        assert!(
            error.contains("`nginx`") && error.contains("seaweedfs, "),
            "{error}"
        );
        for wrong in [&["--only"][..], &["all"]] {
            assert!(given(wrong).is_err());
        }
    }

    #[test]
    fn every_server_has_a_test() {
        let path = workspace().join("backends/tests/services/main.rs");
        let text = std::fs::read_to_string(path).unwrap();
        let names = SERVERS.map(|(name, _)| name).join(" ");
        assert!(text.contains(&format!("servers! {{ {names} }}")));
    }

    #[test]
    fn a_result_becomes_a_row() {
        let result = serde_json::json!({"grade": "atomic", "promises": "3 of 3", "failures": []});
        let rows = [row("apache", &result), row("openssh", &Value::Null)];
        let text = table(&rows);
        assert!(
            text.contains("| apache | atomic | 3 of 3 | - | - | ok |\n"),
            "{text}"
        );
        assert!(
            text.contains("| openssh | - | - | - | - | FAILED: 1 |\n"),
            "{text}"
        );
    }

    #[test]
    fn the_tests_program_is_found_in_what_cargo_says() {
        let said = "{\"target\":{\"name\":\"services\"},\"executable\":\"/t/services-1\"}\nnoise\n{\"reason\":\"build-finished\"}\n";
        assert_eq!(
            program(said, "services"),
            Some(PathBuf::from("/t/services-1"))
        );
        assert_eq!(program(said, "other"), None);
    }
}
