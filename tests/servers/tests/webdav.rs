//! The WebDAV server, seen by a client.

#![allow(clippy::unwrap_used, reason = "test code")]

use reqwest::{Client, Response};
use wl_test_servers::faults::{Refusal, When, Which};
use wl_test_servers::webdav::WebDavServer;

async fn send(
    server: &WebDavServer,
    method: &str,
    path: &str,
    add: &[(&str, &str)],
    body: &str,
) -> Response {
    let url = format!("{}{path}", server.url());
    let mut request = Client::new().request(method.parse().unwrap(), url);
    for (name, value) in add {
        request = request.header(*name, *value);
    }
    request.body(body.to_owned()).send().await.unwrap()
}

async fn status(
    server: &WebDavServer,
    method: &str,
    path: &str,
    add: &[(&str, &str)],
    body: &str,
) -> u16 {
    let reply = send(server, method, path, add, body).await;
    reply.status().as_u16()
}

fn etag(reply: &Response) -> String {
    reply.headers()["etag"].to_str().unwrap().to_owned()
}

const LOCK: &str = "<?xml version=\"1.0\"?><D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:exclusive/>\
    </D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>";

#[tokio::test]
async fn files_conditions_and_locks() {
    let server = WebDavServer::start().await;
    assert_eq!(status(&server, "PUT", "a", &[], "1").await, 201);
    let read = send(&server, "GET", "a", &[], "").await;
    let tag = etag(&read);
    assert_eq!(read.text().await.unwrap(), "1");
    let create = [("if-none-match", "*")];
    assert_eq!(status(&server, "PUT", "a", &create, "2").await, 412);
    let stale = [("if-match", "\"0\"")];
    assert_eq!(status(&server, "PUT", "a", &stale, "2").await, 412);
    let right = [("if-match", tag.as_str())];
    assert_eq!(status(&server, "PUT", "a", &right, "22").await, 204);
    let locked = send(&server, "LOCK", "a", &[("timeout", "Second-60")], LOCK).await;
    let token = locked.headers()["lock-token"].to_str().unwrap().to_owned();
    assert_eq!(status(&server, "PUT", "a", &[], "3").await, 423);
    let held = format!("({token})");
    assert_eq!(
        status(&server, "PUT", "a", &[("if", &held)], "3").await,
        204
    );
    // An editor on the server's machine knows no locks.
    server.put("d/e/f", "deep");
    server.put("a", "4");
    assert_eq!(server.get("a").unwrap(), "4");
    assert!(server.delete("d") && server.get("d/e/f").is_none());
    assert_eq!(server.counts()["PUT"], 6);
    assert_eq!(server.counts().get("MKCOL"), None);
}

#[tokio::test]
async fn a_password_is_asked_for() {
    let server = WebDavServer::builder().basic_auth("u", "p").start().await;
    assert_eq!(status(&server, "PUT", "a", &[], "1").await, 401);
    let right = [("authorization", "Basic dTpw")];
    assert_eq!(status(&server, "PUT", "a", &right, "1").await, 201);
}

#[tokio::test]
async fn a_server_without_locks() {
    let server = WebDavServer::start().await;
    let allow = |reply: Response| reply.headers()["allow"].to_str().unwrap().to_owned();
    assert!(allow(send(&server, "OPTIONS", "", &[], "").await).contains("LOCK"));
    let fault = server.faults().no_locks();
    let reply = send(&server, "OPTIONS", "", &[], "").await;
    let dav = reply.headers()["dav"].to_str().unwrap();
    assert!(dav.starts_with("1,3"), "{dav}");
    assert!(!allow(reply).contains("LOCK"));
    assert_eq!(status(&server, "LOCK", "a", &[], LOCK).await, 405);
    assert_eq!(fault.fired(), 1);
}

#[tokio::test]
async fn a_server_that_ignores_conditions() {
    let server = WebDavServer::start().await;
    server.put("a", "1");
    let fault = server.faults().ignore_conditions();
    for condition in [
        ("if-none-match", "*"),
        ("if-match", "\"0\""),
        ("if", "([\"0\"])"),
    ] {
        assert_eq!(status(&server, "PUT", "a", &[condition], "2").await, 204);
    }
    assert_eq!(fault.fired(), 3);
}

#[tokio::test]
async fn weak_etags_and_none() {
    let server = WebDavServer::start().await;
    server.put("a", "1");
    let propfind = || async {
        let reply = send(&server, "PROPFIND", "a", &[("depth", "0")], "").await;
        assert_eq!(reply.status(), 207);
        reply.text().await.unwrap()
    };
    let text = propfind().await;
    assert!(text.contains("<D:getetag>1-"), "{text}");
    let weak = server.faults().weak_etags(When::Always);
    assert!(propfind().await.contains("<D:getetag>W/\""));
    let tag = etag(&send(&server, "GET", "a", &[], "").await);
    assert!(tag.starts_with("W/"));
    let same = [("if-match", tag.as_str())];
    assert_eq!(status(&server, "PUT", "a", &same, "2").await, 412);
    weak.remove();
    let none = server.faults().no_etags();
    assert!(!propfind().await.contains("getetag"));
    let read = send(&server, "GET", "a", &[], "").await;
    assert!(!read.headers().contains_key("etag"));
    assert_eq!(none.fired(), 2);
}

#[tokio::test]
async fn the_faults_of_all_servers_are_here_too() {
    let server = WebDavServer::start().await;
    let puts = || Which::operation("PUT");
    let refused = server
        .faults()
        .refuse(puts(), When::Nth(1), Refusal::new(507, "Full"));
    assert_eq!(status(&server, "PUT", "a", &[], "1").await, 507);
    assert!(server.get("a").is_none());
    let lost = server.faults().lose_reply(puts(), When::Nth(1));
    let url = format!("{}a", server.url());
    assert!(Client::new().put(url).body("1").send().await.is_err());
    assert_eq!(server.get("a").unwrap(), "1");
    assert_eq!((refused.fired(), lost.fired()), (1, 1));
    let cut = server
        .faults()
        .cut_body(Which::operation("GET"), When::Always);
    server.put("a", "0123456789");
    let read = send(&server, "GET", "a", &[], "").await;
    assert_eq!(read.content_length(), Some(10));
    assert!(read.bytes().await.is_err());
    assert_eq!(cut.fired(), 1);
}
