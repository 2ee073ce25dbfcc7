//! Empty files by FTP: opendal sends nothing for them and reports success, so they are refused before anything is sent.

use wl_core::storage::ErrorKind;

use super::kit::{kind, put};
use crate::opendal::names::refusal;
use crate::opendal::store::{OpendalStore, Place};
use crate::opendal::{built, service};
use crate::remote::store::Condition;

#[tokio::test]
async fn an_empty_file_is_refused_and_not_dropped() {
    // Nobody listens there: whoever connects fails with another error.
    let options = vec![
        ("endpoint", "ftp://127.0.0.1:1".to_owned()),
        ("root", "/".to_owned()),
    ];
    let place = Place {
        location: "ftp://127.0.0.1:1/".to_owned(),
        server: "ftp".to_owned(),
        prefix: String::new(),
    };
    let operator = built("ftp", options).unwrap();
    let store = OpendalStore::new("ftp", service("ftp").unwrap(), operator, place).unwrap();
    let empty = put(&store, "f", "", &Condition::None).await;
    assert_eq!(kind(empty), ErrorKind::Unsupported);
}

#[test]
fn ftp_claims_no_renames() {
    let facts = &service("ftp").unwrap().facts;
    assert!(!facts.renames && !facts.copies);
}

#[test]
fn ftp_takes_no_name_for_a_home_folder() {
    let names = &service("ftp").unwrap().names;
    assert!(refusal(names, "", "a/~/b").is_some_and(|why| why.contains("rename it")));
    assert_eq!(refusal(names, "", "~a/b~"), None);
}
