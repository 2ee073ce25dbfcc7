//! Two Syncthings that know each other and nobody else.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::Result;
use crate::run::output;

/// What its control page is asked with; it listens on the loopback only.
const KEY: &str = "harness";
const FOLDER: &str = "bench";

/// Makes their keys and configurations. The ports of their control pages, if they are to have them.
pub fn configure(homes: &[PathBuf; 2], sides: &[PathBuf; 2], control: bool) -> Result<[u16; 2]> {
    let mut ids = Vec::new();
    for home in homes {
        let with = |args: &[&str]| {
            let mut command = Command::new("syncthing");
            command.args(args).arg("--home").arg(home).env("HOME", home);
            command.stderr(Stdio::null());
            command
        };
        output(&mut with(&["generate", "--no-default-folder"]))?;
        ids.push(output(&mut with(&["--device-id"]))?.trim().to_owned());
    }
    let free = free_ports()?;
    let (ports, pages) = ([free[0], free[1]], [free[2], free[3]]);
    for (number, home) in homes.iter().enumerate() {
        let page = control.then(|| pages[number]);
        let config = config(&ids, ports, number, &sides[number], page);
        fs::write(home.join("config.xml"), config)?;
    }
    Ok(pages)
}

/// Nobody listened on them just now.
fn free_ports() -> Result<[u16; 4]> {
    let mut listeners = Vec::new();
    let mut ports = [0; 4];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

/// Runs one of them.
pub fn serve(home: &Path) -> Command {
    let mut command = Command::new("syncthing");
    command.args([
        "serve",
        "--no-browser",
        "--no-restart",
        "--no-upgrade",
        "--home",
    ]);
    command.arg(home);
    command
}

/// What a folder gets that is added by its control page is written out: in a file, what is missing is not the default.
fn config(
    ids: &[String],
    ports: [u16; 2],
    number: usize,
    folder: &Path,
    page: Option<u16>,
) -> String {
    let devices: String = ids
        .iter()
        .zip(ports)
        .map(|(id, port)| {
            format!("<device id=\"{id}\"><address>tcp://127.0.0.1:{port}</address></device>\n")
        })
        .collect();
    let members: String = ids
        .iter()
        .map(|id| format!("<device id=\"{id}\"/>"))
        .collect();
    let gui = match page {
        Some(port) => format!(
            "<gui enabled=\"true\"><address>127.0.0.1:{port}</address><apikey>{KEY}</apikey></gui>"
        ),
        None => "<gui enabled=\"false\"/>".to_owned(),
    };
    format!(
        "<configuration version=\"35\">\n\
         <folder id=\"{FOLDER}\" path=\"{}\" type=\"sendreceive\" rescanIntervalS=\"3600\" fsWatcherEnabled=\"true\" \
         fsWatcherDelayS=\"1\" autoNormalize=\"true\">{members}<minDiskFree unit=\"%\">1</minDiskFree>\
         <maxConflicts>10</maxConflicts></folder>\n{devices}\
         {gui}\n\
         <options><listenAddress>tcp://127.0.0.1:{}</listenAddress>\
         <globalAnnounceEnabled>false</globalAnnounceEnabled><localAnnounceEnabled>false</localAnnounceEnabled>\
         <relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled><reconnectionIntervalS>1</reconnectionIntervalS>\
         <startBrowser>false</startBrowser><urAccepted>-1</urAccepted><crashReportingEnabled>false</crashReportingEnabled>\
         <autoUpgradeIntervalH>0</autoUpgradeIntervalH></options>\n</configuration>\n",
        folder.display(),
        ports[number],
    )
}

/// Has one look at all of its folder; it answers when that is done.
pub fn scan(page: u16) -> Result<()> {
    ask(page, "POST", &format!("/rest/db/scan?folder={FOLDER}")).map(drop)
}

/// Whether one has nothing to do and nothing to fetch.
pub fn is_idle(page: u16) -> Result<bool> {
    let status = ask(page, "GET", &format!("/rest/db/status?folder={FOLDER}"))?;
    let status: Value = serde_json::from_str(&status)?;
    Ok(status["state"] == "idle" && status["needTotalItems"] == 0)
}

fn ask(page: u16, verb: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", page))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let request = format!(
        "{verb} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nX-API-Key: {KEY}\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
    if !head.lines().next().unwrap_or_default().contains(" 200") {
        return Err(format!("{path}: {}", head.lines().next().unwrap_or_default()).into());
    }
    Ok(body.to_owned())
}
