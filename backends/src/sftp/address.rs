//! What `url` says: user, host, port, folder.

use std::ffi::OsString;

use serde::Deserialize;
use url::Url;

use super::dial::Program;

/// The parameters of a manifest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    pub(super) url: String,
    pub(super) identity_file: Option<String>,
    pub(super) ssh_config: Option<String>,
}

/// Where a storage is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// Absolute, or relative to the home folder (`.` is the home folder itself).
    pub(super) folder: String,
}

impl Address {
    /// Takes a URL apart; the error says what is wrong and never repeats the URL, for there may be a password in it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "`url` is no URL; write sftp://user@host/path")?;
        if url.scheme() != "sftp" {
            return Err("`url` must begin with sftp://");
        }
        if url.password().is_some() {
            return Err(
                "`url` holds a password; it is not used: take it out, and log in with a key (`identity_file`, or an agent)",
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("`url` holds `?` or `#`; write %3F or %23 if they belong to the path");
        }
        let decode = |text: &str| decode(text).ok_or("`url` holds `%` with what is no UTF-8");
        let host = decode(url.host_str().unwrap_or_default())?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let user = Some(decode(url.username())?).filter(|user| !user.is_empty());
        let unfit = |text: &str| {
            text.starts_with('-') || text.contains(|c: char| c.is_control() || c.is_whitespace())
        };
        if host.is_empty() || unfit(host) {
            return Err("`url` has no usable host; write sftp://user@host/path");
        }
        if user.as_deref().is_some_and(unfit) {
            return Err("the user in `url` begins with `-` or holds white space");
        }
        let path = decode(url.path())?;
        if path.is_empty() || path.contains('\0') {
            return Err("`url` has no path; `/~/x` is the folder x in the home folder");
        }
        let folder = match path.strip_prefix("/~") {
            Some("" | "/") => ".".to_owned(),
            Some(below) if below.starts_with('/') => below.trim_start_matches('/').to_owned(),
            _ => path,
        };
        Ok(Self {
            user,
            // As ssh does it, so that one server has one name.
            host: host.to_ascii_lowercase(),
            port: url.port(),
            folder,
        })
    }

    /// `user@host:port`, as far as they are given.
    pub(super) fn server(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@"));
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        let port = self.port.map(|port| format!(":{port}"));
        format!(
            "{}{host}{}",
            user.unwrap_or_default(),
            port.unwrap_or_default()
        )
    }

    /// The `ssh` that leads there.
    pub(super) fn program(&self, params: &Params) -> Program {
        let mut arguments: Vec<OsString> = Vec::new();
        // Never a question: nobody is there to answer it.
        for option in [
            "-oBatchMode=yes",
            "-oServerAliveInterval=15",
            "-oServerAliveCountMax=3",
            "-oClearAllForwardings=yes",
            "-oForwardAgent=no",
            "-oForwardX11=no",
            "-oPermitLocalCommand=no",
            // Others would lose their connection with ours.
            "-oControlMaster=no",
            "-oRemoteCommand=none",
            "-oRequestTTY=no",
            "-oConnectTimeout=20",
        ] {
            arguments.push(option.into());
        }
        let port = self.port.map(|port| port.to_string());
        for (option, value) in [
            ("-F", params.ssh_config.as_ref()),
            ("-i", params.identity_file.as_ref()),
            ("-p", port.as_ref()),
            ("-l", self.user.as_ref()),
        ] {
            if let Some(value) = value {
                arguments.push(option.into());
                arguments.push(value.into());
            }
        }
        for argument in ["-s", "--", &self.host, "sftp"] {
            arguments.push(argument.into());
        }
        Program {
            program: "ssh".into(),
            arguments,
        }
    }
}

/// Resolves `%41` and the like.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = rest.get(2..)?;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}
