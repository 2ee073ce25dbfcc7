//! Clients.

#![allow(clippy::unwrap_used, reason = "test code")]

use opendal::{Operator, services::S3};
use reqwest::Response;
use wl_test_servers::s3::S3Server;
use wl_test_servers::sign::Key;

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
    key: Key,
}

impl Raw {
    pub fn new(server: &S3Server) -> Self {
        Self {
            client: reqwest::Client::new(),
            endpoint: server.endpoint(),
            key: Key::new(server.access_key(), server.secret_key()),
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
        let host = self.endpoint.trim_start_matches("http://");
        let url = format!("{}{path}", self.endpoint);
        let mut request = self.client.request(method.parse().unwrap(), url);
        for (name, value) in self.key.sign(method, host, path, add) {
            request = request.header(name, value);
        }
        request.body(body.to_owned()).send().await.unwrap()
    }
}
