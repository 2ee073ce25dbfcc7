//! An FTP server.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Process, Result, find, with_free_port};

/// A running vsftpd, for the user `anonymous` with any password. It works as the user who started it.
pub struct Vsftpd {
    process: Process,
    port: u16,
}

impl Vsftpd {
    /// Starts it with an empty folder.
    ///
    /// # Errors
    ///
    /// When it is not installed or does not start.
    pub fn start() -> Result<Self> {
        let vsftpd = find("vsftpd", "apt-get install vsftpd")?;
        with_free_port(|port| {
            let folder = TempDir::new()?;
            fs::create_dir(folder.path().join("data"))?;
            let config = folder.path().join("vsftpd.conf");
            let data = folder.path().join("data");
            fs::write(&config, configuration(port, &data.display().to_string()))?;
            let mut command = Command::new(&vsftpd);
            command.arg(&config);
            let mut process = Process::start("vsftpd", command, folder)?;
            process.wait_until(Duration::from_secs(120), || greets(port))?;
            Ok(Self { process, port })
        })
    }

    /// `ftp://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ftp://127.0.0.1:{}", self.port)
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &'static str {
        "anonymous"
    }

    /// The folder of [`Vsftpd::data`], as clients see it.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.data()
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

fn configuration(port: u16, data: &str) -> String {
    format!(
        "listen=YES\n\
         listen_address=127.0.0.1\n\
         listen_port={port}\n\
         background=NO\n\
         run_as_launching_user=YES\n\
         seccomp_sandbox=NO\n\
         anonymous_enable=YES\n\
         local_enable=NO\n\
         no_anon_password=YES\n\
         anon_root={data}\n\
         anon_umask=022\n\
         anon_upload_enable=YES\n\
         anon_mkdir_write_enable=YES\n\
         anon_other_write_enable=YES\n\
         anon_world_readable_only=NO\n\
         write_enable=YES\n\
         allow_writeable_chroot=YES\n\
         mdtm_write=YES\n\
         use_localtime=NO\n\
         max_clients=0\n\
         max_per_ip=0\n\
         pasv_address=127.0.0.1\n"
    )
}

/// Whether it greets and knows the user.
fn greets(port: u16) -> bool {
    let asked = || {
        use std::io::Write;
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut to = stream.try_clone().ok()?;
        let mut lines = BufReader::new(stream).lines();
        let greeting = lines.next()?.ok()?;
        to.write_all(b"USER anonymous\r\n").ok()?;
        let answer = lines.next()?.ok()?;
        Some(greeting.starts_with("220") && answer.starts_with("230"))
    };
    asked().unwrap_or(false)
}
