//! Clients.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::{SystemTime, UNIX_EPOCH};

use opendal::{Operator, services::S3};
use reqwest::Response;
use sha2::{Digest, Sha256};
use wl_test_servers::s3::S3Server;

/// opendal, with the key that the server knows.
pub fn operator(server: &S3Server) -> Operator {
    with_secret(server, server.secret_key())
}

pub fn with_secret(server: &S3Server, secret: &str) -> Operator {
    opendal::install_default();
    let builder = S3::default()
        .bucket("bucket")
        .region(server.region())
        .endpoint(&server.endpoint())
        .access_key_id(server.access_key())
        .secret_access_key(secret)
        .disable_config_load()
        .disable_ec2_metadata();
    Operator::new(builder).unwrap()
}

/// Requests by hand, for what opendal does not offer.
pub struct Raw {
    client: reqwest::Client,
    endpoint: String,
    access_key: String,
    secret_key: String,
}

impl Raw {
    pub fn new(server: &S3Server) -> Self {
        Self {
            client: reqwest::Client::new(),
            endpoint: server.endpoint(),
            access_key: server.access_key().to_owned(),
            secret_key: server.secret_key().to_owned(),
        }
    }

    /// The status of a request without a signature.
    pub async fn unsigned(&self, method: &str, path: &str) -> u16 {
        let method = method.parse().unwrap();
        let url = format!("{}{path}", self.endpoint);
        let reply = self.client.request(method, url).send().await.unwrap();
        reply.status().as_u16()
    }

    /// The status of a request.
    pub async fn send(&self, method: &str, path: &str, add: &[(&str, &str)], body: &str) -> u16 {
        self.reply(method, path, add, body).await.status().as_u16()
    }

    /// The body of a reply.
    pub async fn text(&self, method: &str, path: &str) -> String {
        self.reply(method, path, &[], "")
            .await
            .text()
            .await
            .unwrap()
    }

    /// A signed request. Keys and values in `path` need no escapes.
    pub async fn reply(
        &self,
        method: &str,
        path: &str,
        add: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let (time, payload) = (now(), "UNSIGNED-PAYLOAD");
        let host = self.endpoint.trim_start_matches("http://");
        let mut headers = vec![
            ("host", host),
            ("x-amz-content-sha256", payload),
            ("x-amz-date", &time),
        ];
        headers.extend(add);
        headers.sort_unstable();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let (before, query) = path.split_once('?').unwrap_or((path, ""));
        let mut pairs: Vec<String> = query.split('&').map(with_equals).collect();
        pairs.sort();
        let query = pairs.join("&");
        let canonical = format!("{method}\n{before}\n{query}\n{lines}\n{names}\n{payload}");
        let scope = format!("{}/us-east-1/s3/aws4_request", &time[..8]);
        let hash = hex(&Sha256::digest(canonical));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
        let mut key = format!("AWS4{}", self.secret_key).into_bytes();
        for word in [&time[..8], "us-east-1", "s3", "aws4_request", &text] {
            key = hmac(&key, word.as_bytes());
        }
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            self.access_key,
            hex(&key)
        );
        let url = format!("{}{path}", self.endpoint);
        let mut request = self.client.request(method.parse().unwrap(), url);
        for (name, value) in headers.iter().filter(|(name, _)| *name != "host") {
            request = request.header(*name, *value);
        }
        let request = request.header("authorization", authorization);
        request.body(body.to_owned()).send().await.unwrap()
    }
}

fn with_equals(pair: &str) -> String {
    match pair.contains('=') || pair.is_empty() {
        true => pair.to_owned(),
        false => format!("{pair}="),
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |with: u8| {
        let mut block = [with; 64];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(text)
        .finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner);
    outer.finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20260131T235959Z`.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (days, rest) = (since.as_secs() / 86400, since.as_secs() % 86400);
    // From days to a date: the years begin in March, 400 of them have 146097 days.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}
