//! Object stores.

use serde_json::{Value, json};

use super::Imported;
use super::conf::Remote;

/// Providers whose buckets are host names; rclone's list. Elsewhere the bucket is the first part of the path.
const VIRTUAL: [&str; 14] = [
    "AWS",
    "Alibaba",
    "DigitalOcean",
    "Dreamhost",
    "HuaweiOBS",
    "LyveCloud",
    "Netease",
    "Qiniu",
    "RackCorp",
    "Scaleway",
    "StackPath",
    "Storj",
    "TencentCOS",
    "Wasabi",
];

/// `bucket/prefix` without slashes at its ends.
fn bucket(path: &str) -> Result<&str, String> {
    match path.trim_matches('/') {
        "" => Err("name a bucket: REMOTE:BUCKET/PREFIX".to_owned()),
        path => Ok(path),
    }
}

/// An address without a scheme is one of https.
fn with_scheme(address: String) -> String {
    if address.contains("://") {
        return address;
    }
    format!("https://{address}")
}

pub fn s3(remote: &mut Remote, path: &str) -> Result<Imported, String> {
    let mut s3 = Imported::of_url(&format!("s3://{}", bucket(path)?))?;
    let provider = remote.take("provider").unwrap_or_default();
    let endpoint = remote.take("endpoint").map(with_scheme);
    let path_style = remote.take_flag("force_path_style");
    match (&endpoint, &*provider) {
        (Some(_), provider) => {
            let host = VIRTUAL.contains(&provider) || path_style == Some(false);
            s3.set("addressing", if host { "virtual" } else { "path" });
        }
        (None, "" | "AWS") => {}
        (None, provider) => s3.note(format!(
            "the provider {provider} has no endpoint in rclone's configuration, so Amazon's is used; give it with --endpoint-url if that is wrong"
        )),
    }
    s3.set_some("endpoint_url", endpoint);
    s3.set_some("region", remote.take("region"));
    let env = remote.take_flag("env_auth") == Some(true);
    s3.set_some("profile", remote.take("profile").filter(|_| env));
    let key = remote.take("access_key_id");
    let secret = remote.take("secret_access_key");
    let token = remote.take("session_token");
    match (key, secret) {
        (Some(key), Some(secret)) => {
            let mut secrets = json!({ "access_key": key, "secret_key": secret });
            if let Some(token) = token {
                secrets["session_token"] = token.into();
                s3.note("the session token will expire; the keys then have to be given again");
            }
            s3.secrets = Some(secrets);
        }
        (None, None) if env => s3.note(
            "the keys come from the environment or a profile (`env_auth`), for wl as for rclone",
        ),
        (None, None) => s3.set("anonymous", true),
        _ => {
            return Err(
                "it has only one of `access_key_id` and `secret_access_key`; correct it with `rclone config`"
                    .to_owned(),
            );
        }
    }
    Ok(s3)
}

pub fn azblob(remote: &mut Remote, path: &str) -> Result<Imported, String> {
    let mut store = Imported::of_url(&format!("azblob://{}", bucket(path)?))?;
    for key in ["service_principal_file", "client_id", "username"] {
        if remote.take(key).is_some() {
            return Err(format!(
                "it logs in with `{key}`, which wl cannot; make a SAS token or give the account's key"
            ));
        }
    }
    for key in ["use_msi", "use_emulator"] {
        if remote.take_flag(key) == Some(true) {
            return Err(format!(
                "it logs in with `{key}`, which wl cannot; use `wl storage create azblob` with a key or a SAS token"
            ));
        }
    }
    let (account, key) = (remote.take("account"), remote.take("key"));
    let endpoint = remote.take("endpoint").map(with_scheme);
    let sas = remote.take("sas_url");
    remote.take("env_auth");
    if let Some(url) = sas {
        let sas = Sas::of_url(&url)
            .ok_or("its `sas_url` is no URL with a SAS token; correct it with `rclone config`")?;
        if sas
            .container
            .is_some_and(|container| store.params["blob_container"] != container)
        {
            return Err("its `sas_url` is that of another container; name that one".to_owned());
        }
        store.set_some(
            "account_name",
            account.or_else(|| sas.account().map(str::to_owned)),
        );
        if sas.account().is_none() {
            store.set("endpoint_url", format!("https://{}", sas.host));
        }
        store.secrets = Some(json!({ "sas_token": sas.token }));
        return Ok(store);
    }
    store.set_some("account_name", account);
    store.set_some("endpoint_url", endpoint);
    match key {
        Some(key) => store.secrets = Some(json!({ "account_key": key })),
        None => store.note("the key comes from the environment: the remote has none"),
    }
    Ok(store)
}

/// The parts of `https://ACCOUNT.blob.core.windows.net/CONTAINER?TOKEN`.
struct Sas<'a> {
    host: &'a str,
    container: Option<&'a str>,
    token: &'a str,
}

impl<'a> Sas<'a> {
    fn of_url(url: &'a str) -> Option<Self> {
        let (address, token) = url.strip_prefix("https://")?.split_once('?')?;
        let (host, container) = address.split_once('/').unwrap_or((address, ""));
        let container = container.trim_matches('/');
        (!token.is_empty() && !host.is_empty()).then_some(Self {
            host,
            container: Some(container).filter(|container| !container.is_empty()),
            token,
        })
    }

    fn account(&self) -> Option<&'a str> {
        self.host.strip_suffix(".blob.core.windows.net")
    }
}

pub fn gcs(remote: &mut Remote, path: &str) -> Result<Imported, String> {
    let mut store = Imported::of_url(&format!("gs://{}", bucket(path)?))?;
    store.set_some("endpoint_url", remote.take("endpoint").map(with_scheme));
    let token = remote.take("token");
    for key in ["client_id", "client_secret", "auth_url", "token_url"] {
        remote.take(key);
    }
    remote.take("env_auth");
    if remote.take_flag("anonymous") == Some(true) {
        store.set("anonymous", true);
    } else if let Some(key) = remote.take("service_account_credentials") {
        let key: Value = serde_json::from_str(&key).map_err(
            |_| "its `service_account_credentials` are no JSON; correct them with `rclone config`",
        )?;
        store.secrets = Some(key);
    } else if let Some(file) = remote.take("service_account_file") {
        store.set("credentials_file", file);
    } else if token.is_some() {
        return Err(
            "it logs in as a person (`token`), and wl only as a service account; make one, and give its file with `wl storage create gcs --credentials-file FILE`"
                .to_owned(),
        );
    } else {
        store.note("the account comes from the environment (GOOGLE_APPLICATION_CREDENTIALS)");
    }
    Ok(store)
}
