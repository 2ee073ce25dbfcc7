//! opendal's errors as faults: what happened in a few words, and what to do. Nothing of a request is repeated: addresses may be
//! signed, headers may hold keys.

use std::error::Error as _;
use std::time::Duration;

use ::opendal::{Error, ErrorKind as Odal};
use wl_core::storage::{ErrorKind, StorageError};

use super::transport::Trouble;
use crate::remote::store::{Again, Fault};

/// What was being done, for what an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Nothing changes.
    Looking,
    /// Something may have changed if no clear answer came.
    Changing,
}

/// What is known of a failure.
#[derive(Debug)]
struct Failure<'a> {
    kind: Odal,
    temporary: bool,
    trouble: Option<&'a Trouble>,
    status: Option<u16>,
    pause: Option<Duration>,
    /// The service's own word for it: `NoSuchKey`.
    code: Option<String>,
    /// Its sentence.
    said: String,
}

impl<'a> Failure<'a> {
    fn of(error: &'a Error) -> Self {
        // opendal keeps the reply as text.
        let (text, message) = (error.to_string(), error.message());
        let said = field(message, "message: ").or_else(|| field(message, "\"message\": "));
        Self {
            kind: error.kind(),
            temporary: error.is_temporary(),
            trouble: trouble(error),
            status: number(&text, "Parts { status: "),
            pause: number(&text, "\"retry-after\": \"").map(|s| Duration::from_secs(s.into())),
            code: field(message, "code: ").or_else(|| reason(error)),
            said: said.unwrap_or_else(|| message.to_owned()),
        }
    }
}

/// What `error` means.
pub(super) fn fault(error: &Error, doing: Doing) -> Fault {
    let failure = Failure::of(error);
    let (kind, reason) = meaning(&failure, error);
    let (sent, refused) = (!never_left(&failure), refused(&failure, kind));
    let temporary = matches!(kind, ErrorKind::Temporary)
        || (kind == ErrorKind::Unavailable && failure.trouble.is_some_and(Trouble::may_pass));
    Fault {
        error: StorageError::new(kind, "", reason),
        again: if temporary {
            Again::After(failure.pause)
        } else {
            Again::Never
        },
        unclear: doing == Doing::Changing && sent && !refused,
    }
}

/// A request that got no answer.
#[cfg(feature = "s3")]
pub(crate) fn unanswered(error: &Error) -> Fault {
    fault(error, Doing::Changing)
}

/// The request was not even sent.
fn never_left(failure: &Failure) -> bool {
    matches!(failure.trouble, Some(Trouble::Connect(..)))
        || matches!(failure.kind, Odal::ConfigInvalid | Odal::Unsupported)
}

/// The service clearly said no: nothing was done.
fn refused(failure: &Failure, kind: ErrorKind) -> bool {
    if failure.trouble.is_some() {
        return false;
    }
    match failure.status {
        Some(status) => {
            status == 501 || (300..500).contains(&status) && !matches!(status, 408 | 499)
        }
        // opendal found the answer out by itself, or it came with status 200.
        None => !matches!(kind, ErrorKind::Temporary | ErrorKind::Other),
    }
}

/// The kind, and a sentence that ends in what to do.
fn meaning(failure: &Failure, error: &Error) -> (ErrorKind, String) {
    if let Some(trouble) = failure.trouble {
        return on_the_way(trouble);
    }
    if let Some(known) = failure.code.as_deref().and_then(by_code) {
        return (known.0, known.1.to_owned());
    }
    if let Some(known) = credentials(error) {
        return known;
    }
    if let Some(known) = by_ftp(error) {
        return known;
    }
    by_kind(failure)
}

fn on_the_way(trouble: &Trouble) -> (ErrorKind, String) {
    let kind = match trouble {
        Trouble::Connect(..) => ErrorKind::Unavailable,
        Trouble::Silence(_) | Trouble::Broken(_) => ErrorKind::Temporary,
    };
    let text = trouble.to_string();
    let low = text.to_lowercase();
    let advice = if let Trouble::Connect(_, Some(proxy)) = trouble {
        proxy
    } else if low.contains("invalidcontenttype") {
        "the endpoint does not speak https; write http:// if that is meant, or give its https port"
    } else if low.contains("certificate") || low.contains("tls") || low.contains("handshake") {
        "check that the endpoint speaks https and its certificate is trusted by this machine"
    } else if low.contains("dns") || low.contains("lookup") || low.contains("name or service") {
        "check the host name in the endpoint, and the network"
    } else if low.contains("refused") {
        "check the endpoint's address and port, and that the server runs"
    } else {
        "check the network, then run again"
    };
    (kind, format!("{text}; {advice}"))
}

const NO_CREDENTIALS: &str = "no credentials were found; give `credentials_file`, or set the service's usual environment variables \
    (s3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; gcs: GOOGLE_APPLICATION_CREDENTIALS; azblob: \
    AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY), or set `anonymous` if it is public (s3, gcs)";

/// Services' own words that say more than the status.
fn by_code(code: &str) -> Option<(ErrorKind, &'static str)> {
    about_credentials(code).or_else(|| about_place(code))
}

pub(crate) fn about_credentials(code: &str) -> Option<(ErrorKind, &'static str)> {
    use ErrorKind::{Credentials, Denied};
    Some(match code {
        "InvalidAccessKeyId" | "InvalidToken" | "UnrecognizedClientException" => (
            Credentials,
            "the server does not know the access key; check the access key (and session token) in the credentials",
        ),
        "NoAuthenticationInformation" => (Credentials, NO_CREDENTIALS),
        "SignatureDoesNotMatch" => (
            Credentials,
            "the secret key does not fit the access key; check the secret key in the credentials",
        ),
        "AuthenticationFailed" | "InvalidAuthenticationInfo" => (
            Credentials,
            "the server does not accept the account key or token; check the credentials, and this machine's clock",
        ),
        "ExpiredToken" | "TokenRefreshRequired" | "ExpiredTokenException" => (
            Credentials,
            "the session token has expired; get new temporary credentials",
        ),
        "RequestTimeTooSkewed" | "RequestExpired" => (
            Credentials,
            "this machine's clock differs too much from the server's; set the clock (for example with NTP) and run again",
        ),
        "AccessDenied"
        | "AllAccessDisabled"
        | "AuthorizationFailure"
        | "AuthorizationPermissionMismatch" => (
            Denied,
            "access denied; give these credentials the right to list, read, write and remove here",
        ),
        _ => return None,
    })
}

fn about_place(code: &str) -> Option<(ErrorKind, &'static str)> {
    use ErrorKind::{Changed, Full, Temporary, Unavailable};
    Some(match code {
        "NoSuchBucket" | "ContainerNotFound" => (
            Unavailable,
            "the bucket (or container) does not exist; check its name (and region or endpoint), or create it",
        ),
        "InvalidBucketName" => (Unavailable, "that is no bucket name; check the address"),
        "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException"
        | "TemporaryRedirect" => (
            Unavailable,
            "the bucket is in another region; set `region` (and `endpoint_url`) to the bucket's own",
        ),
        "QuotaExceeded"
        | "QuotaExceededException"
        | "XMinioStorageFull"
        | "InsufficientStorage" => (
            Full,
            "the storage is full or its quota is used up; make room",
        ),
        "PreconditionFailed"
        | "ConditionNotMet"
        | "BlobAlreadyExists"
        | "ConditionalRequestConflict" => (Changed, "something else is there now; run again"),
        "SlowDown" | "ServerBusy" | "TooManyRequests" | "Throttling" | "RequestLimitExceeded" => (
            Temporary,
            "the server asks for fewer requests; run again later, or set a limit for this storage",
        ),
        "OperationAborted" | "InternalError" | "ServiceUnavailable" | "RequestTimeout" => (
            Temporary,
            "the server has trouble that should pass; run again later",
        ),
        _ => return None,
    })
}

/// Whoever signs the requests found nothing to sign with.
fn credentials(error: &Error) -> Option<(ErrorKind, String)> {
    let mut at = error.source();
    let mut text = error.message().to_lowercase();
    while let Some(source) = at {
        text.push(' ');
        text.push_str(&source.to_string().to_lowercase());
        at = source.source();
    }
    let none = text.contains("no credential")
        || text.contains("credential not found")
        || text.contains("failed to load signing credential")
        || text.contains("failed to load credential")
        || text.contains("loading credential");
    none.then(|| (ErrorKind::Credentials, NO_CREDENTIALS.to_owned()))
}

/// The FTP service says `ftp error` and keeps what happened as the source: `Invalid response: [530] Login incorrect.`
fn by_ftp(error: &Error) -> Option<(ErrorKind, String)> {
    use ErrorKind::{Credentials, Full, NotFound, Other, Temporary, Unavailable, Unrepresentable};
    let source = error
        .source()
        .filter(|_| error.message() == "ftp error")?
        .to_string();
    let said = short(source.trim_start_matches("Invalid response: "));
    let low = said.to_lowercase();
    let code = said
        .strip_prefix('[')
        .and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
    let (kind, advice) = match code {
        Some(421) => (
            Temporary,
            "the server takes no more connections now; run again later",
        ),
        Some(425 | 426) => (
            Temporary,
            "check that a firewall lets through the ports that the server opens for data",
        ),
        Some(430 | 530..=532) => (
            Credentials,
            "check the user in `url`, and the password in the credentials",
        ),
        Some(452 | 552) => (Full, "make room on the server"),
        Some(550) => (
            NotFound,
            "nothing is there, or the account may not reach it",
        ),
        // "File name not allowed."
        Some(553) => (
            Unrepresentable,
            "rename it, or check that the account may write there",
        ),
        Some(400..=499) => (Temporary, "run again later"),
        Some(_) => (Other, "see what the server's log says of it"),
        None if low.contains("refused")
            || low.contains("lookup")
            || low.contains("unreachable") =>
        {
            (
                Unavailable,
                "check host and port in `url`, and that the server runs",
            )
        }
        None => (
            Temporary,
            "the connection broke; check the network, then run again",
        ),
    };
    Some((kind, format!("the FTP server: {said}; {advice}")))
}

fn by_kind(failure: &Failure) -> (ErrorKind, String) {
    let plain = |kind, text: &str| (kind, text.to_owned());
    match (failure.kind, failure.status) {
        (Odal::ConditionNotMatch | Odal::AlreadyExists | Odal::Conflict, _)
        | (_, Some(409 | 412)) => {
            plain(ErrorKind::Changed, "something else is there now; run again")
        }
        (Odal::NotFound, _) => plain(ErrorKind::NotFound, "nothing is there"),
        (Odal::RateLimited, _) => plain(
            ErrorKind::Temporary,
            "the server asks for fewer requests; run again later, or set a limit for this storage",
        ),
        (_, Some(501)) => plain(
            ErrorKind::Unsupported,
            "the server says that it cannot do that; see what its documentation says of conditions and copies",
        ),
        (_, Some(507)) => plain(ErrorKind::Full, "the storage is full; make room"),
        (_, Some(401)) => plain(
            ErrorKind::Credentials,
            "the server does not accept the credentials; check them",
        ),
        (Odal::PermissionDenied, _) => plain(
            ErrorKind::Denied,
            "access denied; check the credentials, and that they may list, read, write and remove here",
        ),
        (_, Some(300..=399)) => plain(
            ErrorKind::Unavailable,
            "the server points elsewhere; check the endpoint and the region",
        ),
        (Odal::ConfigInvalid, _) => (
            ErrorKind::Config,
            format!("{}; check the storage's parameters", short(&failure.said)),
        ),
        (Odal::Unsupported, _) => (
            ErrorKind::Unsupported,
            format!("this service cannot do that: {}", short(&failure.said)),
        ),
        (Odal::IsADirectory | Odal::NotADirectory, _) => plain(
            ErrorKind::Changed,
            "a folder is where a file was expected, or the other way round; run again",
        ),
        (Odal::RangeNotSatisfied, _) => plain(
            ErrorKind::Busy,
            "it became shorter while it was read; run again",
        ),
        (_, status) => by_status(failure, status),
    }
}

/// What only the status tells something about.
fn by_status(failure: &Failure, status: Option<u16>) -> (ErrorKind, String) {
    let shown = status.map(|status| format!(" (status {status})"));
    let shown = shown.unwrap_or_default();
    if failure.temporary || status.is_some_and(|status| status >= 500) {
        let reason = format!("the server has trouble{shown}; run again later");
        return (ErrorKind::Temporary, reason);
    }
    let said = short(&failure.said);
    let reason = format!("{said}{shown}; if it stays so, check the storage's parameters");
    (ErrorKind::Other, reason)
}

/// At most this much of what a service says is repeated.
const SAID_MAX: usize = 160;

/// One short line of `said`, without addresses: they may be signed.
fn short(said: &str) -> String {
    // Azure adds numbers that help nobody here.
    let said = said.split("RequestId:").next().unwrap_or(said);
    let words = said.split_whitespace().map(|word| {
        if word.contains("://") || word.contains('?') {
            "..."
        } else {
            word
        }
    });
    let line: String = words.collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return "the server gave no reason".to_owned();
    }
    if line.starts_with('<') || line.starts_with('{') {
        return "the server sent an answer that is not understood".to_owned();
    }
    line.chars().take(SAID_MAX).collect()
}

fn trouble(error: &Error) -> Option<&Trouble> {
    let mut source = error.source();
    while let Some(at) = source {
        if let Some(trouble) = at.downcast_ref::<Trouble>() {
            return Some(trouble);
        }
        if let Some(inner) = at.downcast_ref::<Error>()
            && let Some(found) = trouble(inner)
        {
            return Some(found);
        }
        source = at.source();
    }
    None
}

/// The value after `name` in the debug text of a reply: `code: "NoSuchKey"`.
fn field(text: &str, name: &str) -> Option<String> {
    let at = text.find(name)? + name.len();
    let rest = text[at..].strip_prefix('"')?;
    let end = rest.find('"')?;
    (end > 0).then(|| rest[..end].to_owned())
}

/// The word that Google gives as `reason`.
fn reason(error: &Error) -> Option<String> {
    field(error.message(), "reason: ")
}

/// The number after `name`.
fn number(text: &str, name: &str) -> Option<u16> {
    let at = text.find(name)? + name.len();
    let digits: String = text[at..]
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok()
}

/// A refusal of ours.
pub(super) fn refusal(kind: ErrorKind, reason: impl Into<String>) -> Fault {
    StorageError::new(kind, "", reason).into()
}
