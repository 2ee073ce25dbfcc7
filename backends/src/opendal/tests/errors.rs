//! What errors mean: texts as opendal and servers make them.

use std::time::Duration;

use ::opendal::{Error, ErrorKind as Odal};
use wl_core::storage::ErrorKind;

use crate::opendal::errors::{Doing, fault};
use crate::opendal::transport::Trouble;
use crate::remote::store::{Again, Fault};

/// As opendal's S3 service makes them.
fn s3(kind: Odal, status: u16, code: &str, message: &str) -> Error {
    let message = format!(
        "S3Error {{ code: \"{code}\", message: \"{message}\", resource: \"/bucket/key\", request_id: \"4442587FB7D0A2F9\" }}"
    );
    let response = format!(
        "Parts {{ status: {status}, version: HTTP/1.1, headers: {{\"x-amz-id\": \"SECRET\"}} }}"
    );
    Error::new(kind, message)
        .with_context("uri", "https://h/b/k?X-Amz-Signature=SECRET")
        .with_context("response", response)
}

fn changing(error: &Error) -> Fault {
    fault(error, Doing::Changing)
}

#[test]
fn services_words_decide() {
    let rows = [
        (
            403,
            "InvalidAccessKeyId",
            ErrorKind::Credentials,
            "access key",
        ),
        (
            403,
            "SignatureDoesNotMatch",
            ErrorKind::Credentials,
            "secret key",
        ),
        (
            403,
            "RequestTimeTooSkewed",
            ErrorKind::Credentials,
            "set the clock",
        ),
        (403, "AccessDenied", ErrorKind::Denied, "right to"),
        (400, "ExpiredToken", ErrorKind::Credentials, "expired"),
        (
            404,
            "NoSuchBucket",
            ErrorKind::Unavailable,
            "the bucket (or container) does not exist",
        ),
        (301, "PermanentRedirect", ErrorKind::Unavailable, "region"),
        (
            400,
            "AuthorizationHeaderMalformed",
            ErrorKind::Unavailable,
            "region",
        ),
        (
            412,
            "PreconditionFailed",
            ErrorKind::Changed,
            "something else",
        ),
        (
            409,
            "ConditionalRequestConflict",
            ErrorKind::Changed,
            "something else",
        ),
        (507, "InsufficientStorage", ErrorKind::Full, "make room"),
    ];
    for (status, code, kind, says) in rows {
        let fault = changing(&s3(Odal::Unexpected, status, code, "As the server says it"));
        assert_eq!(fault.error.kind(), kind, "{code}");
        assert!(
            fault.error.reason().contains(says),
            "{code}: {}",
            fault.error.reason()
        );
        assert_eq!(fault.again, Again::Never, "{code}");
    }
}

#[test]
fn a_refusal_is_clear_and_trouble_is_not() {
    assert!(!changing(&s3(Odal::PermissionDenied, 403, "AccessDenied", "")).unclear);
    assert!(!changing(&s3(Odal::ConditionNotMatch, 412, "PreconditionFailed", "")).unclear);
    for (status, code) in [
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
        (502, ""),
    ] {
        let error = s3(Odal::Unexpected, status, code, "").set_temporary();
        let fault = changing(&error);
        assert!(fault.unclear, "{status}");
        assert_eq!(fault.error.kind(), ErrorKind::Temporary);
        assert_eq!(fault.again, Again::After(None));
        assert!(!super::super::errors::fault(&error, Doing::Looking).unclear);
    }
    // The answer of a 200 whose body cannot be understood says nothing.
    assert!(changing(&Error::new(Odal::Unexpected, "deserialize xml")).unclear);
}

#[test]
fn the_asked_for_pause_is_told() {
    let response = "Parts { status: 503, version: HTTP/1.1, headers: {\"retry-after\": \"7\"} }";
    let error = Error::new(Odal::RateLimited, "").with_context("response", response);
    let told = Again::After(Some(Duration::from_secs(7)));
    assert_eq!(changing(&error.set_temporary()).again, told);
}

#[test]
fn trouble_on_the_way_has_advice() {
    let rows = [
        (
            Trouble::Connect("Connection refused (os error 111)".to_owned(), None),
            ErrorKind::Unavailable,
            "port",
            false,
        ),
        (
            Trouble::Connect("invalid peer certificate: UnknownIssuer".to_owned(), None),
            ErrorKind::Unavailable,
            "trusted",
            false,
        ),
        (
            Trouble::Connect(
                "failed to lookup address information: Name or service not known".to_owned(),
                None,
            ),
            ErrorKind::Unavailable,
            "host name",
            false,
        ),
        (
            Trouble::Silence(Duration::from_secs(60)),
            ErrorKind::Temporary,
            "60 s",
            true,
        ),
        (
            Trouble::Broken("connection reset by peer".to_owned()),
            ErrorKind::Temporary,
            "network",
            true,
        ),
    ];
    for (trouble, kind, says, unclear) in rows {
        let error = Error::new(Odal::Unexpected, "send http request").set_source(trouble);
        let fault = changing(&error.set_temporary());
        assert_eq!(fault.error.kind(), kind);
        assert!(
            fault.error.reason().contains(says),
            "{}",
            fault.error.reason()
        );
        assert_eq!(fault.unclear, unclear, "{}", fault.error.reason());
        let stays = says == "trusted";
        assert_eq!(fault.again == Again::Never, stays, "{says}");
    }
}

#[test]
fn nothing_secret_is_repeated() {
    let errors = [
        s3(
            Odal::Unexpected,
            418,
            "Odd",
            "see https://h/b?X-Amz-Signature=SECRET for it",
        ),
        Error::new(Odal::Unexpected, "GET https://h/b?sig=SECRET failed")
            .with_context("uri", "SECRET"),
        Error::new(Odal::Unexpected, "<html>SECRET</html>"),
        Error::new(Odal::ConfigInvalid, "no").with_context("value", "SECRET"),
    ];
    for error in errors {
        let reason = changing(&error).error.to_string();
        assert!(!reason.contains("SECRET"), "{reason}");
        assert!(reason.contains("; "), "no advice: {reason}");
    }
}

#[test]
fn a_long_tale_is_cut_short() {
    let error = Error::new(Odal::Unexpected, "word ".repeat(1000));
    assert!(changing(&error).error.reason().len() < 300);
}

/// As opendal's FTP service makes them.
#[test]
fn the_words_of_an_ftp_server_are_told() {
    let rows = [
        (
            "Invalid response: [530] Login incorrect.",
            ErrorKind::Credentials,
            "password",
        ),
        (
            "Invalid response: [421] There are too many connections.",
            ErrorKind::Temporary,
            "run again later",
        ),
        (
            "Invalid response: [425] Failed to establish connection.",
            ErrorKind::Temporary,
            "firewall",
        ),
        (
            "Invalid response: [550] Permission denied.",
            ErrorKind::NotFound,
            "may not reach",
        ),
        (
            "Invalid response: [553] Could not create file.",
            ErrorKind::Unrepresentable,
            "may write",
        ),
        (
            "Invalid response: [552] Quota exceeded.",
            ErrorKind::Full,
            "make room",
        ),
        (
            "Connection error: Connection refused (os error 111)",
            ErrorKind::Unavailable,
            "host and port",
        ),
        (
            "Connection error: Broken pipe (os error 32)",
            ErrorKind::Temporary,
            "network",
        ),
    ];
    for (said, kind, advice) in rows {
        let error =
            Error::new(Odal::Unexpected, "ftp error").set_source(std::io::Error::other(said));
        let fault = changing(&error);
        let reason = fault.error.reason();
        assert_eq!(fault.error.kind(), kind, "{reason}");
        let words = said.trim_start_matches("Invalid response: ");
        assert!(
            reason.contains(words) && reason.contains(advice),
            "{reason}"
        );
        let unclear = matches!(kind, ErrorKind::Temporary);
        assert_eq!(fault.unclear, unclear, "{reason}");
    }
}
