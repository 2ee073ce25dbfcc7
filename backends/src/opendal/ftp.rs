//! Type `ftp`: a folder of an FTP server.

use serde::Deserialize;
use url::Url;
use wl_core::plugin::BackendPlugin;
use wl_core::storage::Result;

use super::plain::{Plain, Reached};
use super::store::Place;
use super::{config, params, parsed};

const TYPE: &str = "ftp";

inventory::submit!(BackendPlugin(&Plain {
    type_name: TYPE,
    summary: "A folder of an FTP server",
    schema: include_str!("schemas/ftp.json"),
    reached: |name, params| reached(parsed(name, params)?),
}));

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    url: String,
    credentials: Option<Credentials>,
    credentials_file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    password: String,
}

/// Several libraries are linked that could do TLS, and the FTP service asks the process which one to take. That somebody has chosen
/// already is fine.
fn choose_tls() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn reached(given: Params) -> Result<Reached> {
    let wrong = |why: &str| {
        config(format!(
            "`url` is no address: {why}; give ftp://user@host/path"
        ))
    };
    let url = Url::parse(&given.url).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "ftp" | "ftps") {
        return Err(wrong("it does not begin with ftp:// or ftps://"));
    }
    if url.scheme() == "ftps" {
        choose_tls();
    }
    if url.password().is_some() {
        return Err(wrong(
            "it holds a password, which belongs into the credentials",
        ));
    }
    let host = url.host_str().ok_or_else(|| wrong("it has no host"))?;
    let server = format!("{}://{host}:{}", url.scheme(), url.port().unwrap_or(21));
    let folder = unescaped(url.path()).ok_or_else(|| wrong("its path is no UTF-8"))?;
    let prefix = params::prefix("url", &folder)?;
    let user = match unescaped(url.username()) {
        Some(user) if !user.is_empty() => user,
        _ => "anonymous".to_owned(),
    };
    let credentials = params::credentials(given.credentials, given.credentials_file.as_deref())?;
    let password = credentials.map_or_else(String::new, |credentials| credentials.password);
    let options = vec![
        ("endpoint", server.clone()),
        ("root", format!("/{prefix}")),
        ("user", user.clone()),
        ("password", password),
    ];
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    let place = Place {
        location: format!("{}://{user}@{host}{port}/{prefix}", url.scheme()),
        server: format!("{server}|{user}"),
        prefix,
    };
    Ok((options, place))
}

/// Text with its `%20`s as spaces.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = (*first == b'%').then(|| more.get(..2)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { more.get(2..)? } else { more };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_chosen_before_a_server_is_reached() {
        let given = Params {
            url: "ftps://127.0.0.1:1/x".to_owned(),
            credentials: None,
            credentials_file: None,
        };
        reached(given).unwrap();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
