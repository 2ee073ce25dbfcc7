//! WebDAV servers of others.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::HOW;
use super::s3::rclone_serve;
use crate::process::{Process, Result, StartError, find, http, with_free_port};

/// A running WebDAV server with an empty folder.
pub struct WebDavService {
    process: Process,
    port: u16,
}

impl WebDavService {
    /// `http://127.0.0.1:PORT/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Makes a folder through the server. Whether that worked.
    #[must_use]
    pub fn make_folder(&self, name: &str) -> bool {
        http(self.port, "MKCOL", &format!("/{name}"), &[], "") == Some(201)
    }

    /// The folder that is served, for editors.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.process.folder().join("data")
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// Waits until a file can be written and removed.
fn ready(name: &str, command: Command, folder: TempDir, port: u16) -> Result<WebDavService> {
    let mut process = Process::start(name, command, folder)?;
    let works = || {
        let put = http(port, "PUT", "/ready", &[], "1");
        put.is_some_and(|status| status / 100 == 2)
            && http(port, "DELETE", "/ready", &[], "") == Some(204)
    };
    process.wait_until(Duration::from_secs(120), works)?;
    Ok(WebDavService { process, port })
}

/// `rclone serve webdav`: conditions are ignored, and only `PROPFIND` has ETags.
///
/// # Errors
///
/// When it is not installed or does not start.
pub fn rclone_webdav() -> Result<WebDavService> {
    let rclone = find("rclone", HOW)?;
    with_free_port(|port| {
        let folder = TempDir::new()?;
        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        let mut command = rclone_serve(&rclone, "webdav", port);
        command.args(["--etag-hash", "MD5"]).arg(&data);
        ready("rclone", command, folder, port)
    })
}

const MODULES: &str = "/usr/lib/apache2/modules";

/// Apache with `mod_dav`: ETags are weak in the first second, and two conditional writers can both win.
///
/// # Errors
///
/// When it is not installed or does not start.
pub fn apache() -> Result<WebDavService> {
    let apache = find("apache2", "apt-get install apache2")?;
    with_free_port(|port| {
        let folder = TempDir::new()?;
        let config = apache_config(folder.path(), port)?;
        let mut command = Command::new(&apache);
        command.arg("-f").arg(config).arg("-DFOREGROUND");
        ready("apache2", command, folder, port)
    })
}

fn apache_config(at: &Path, port: u16) -> Result<PathBuf> {
    // Started by root, it works as somebody who may not see our folder.
    fs::set_permissions(at, Permissions::from_mode(0o755))?;
    for name in ["data", "lock"] {
        let path = at.join(name);
        fs::create_dir(&path)?;
        fs::set_permissions(path, Permissions::from_mode(0o777))?;
    }
    if !Path::new(MODULES).is_dir() {
        let text = format!("{MODULES} is not there: apt-get install apache2");
        return Err(StartError::new(text));
    }
    let names = ["mpm_event", "authz_core", "dav", "dav_fs"];
    let load = |name: &str| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n");
    let modules: String = names.map(load).concat();
    let at = at.display();
    let config = format!(
        "{modules}\
         ServerRoot {at}\n\
         ServerName localhost\n\
         Listen 127.0.0.1:{port}\n\
         PidFile {at}/pid\n\
         ErrorLog {at}/error.log\n\
         Mutex file:{at}/lock default\n\
         User www-data\n\
         Group www-data\n\
         DavLockDB {at}/lock/db\n\
         DocumentRoot {at}/data\n\
         KeepAlive On\n\
         MaxKeepAliveRequests 0\n\
         <Directory {at}/data>\n\
         Dav On\n\
         Require all granted\n\
         </Directory>\n"
    );
    let path = PathBuf::from(format!("{at}/apache.conf"));
    // `User` is a word of this module, which may be linked in.
    let unix = load("unixd");
    let config = match Path::new(MODULES).join("mod_unixd.so").is_file() {
        true => format!("{unix}{config}"),
        false => config,
    };
    fs::write(&path, config)?;
    Ok(path)
}
