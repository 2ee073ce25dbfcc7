//! Signatures of S3 requests (SigV4), for the requests by hand that a test needs and the clients do not offer.

use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::s3::hex;

/// An access key and its secret.
#[derive(Clone, Debug)]
pub struct Key {
    access: String,
    secret: String,
}

impl Key {
    /// The key.
    #[must_use]
    pub fn new(access: &str, secret: &str) -> Self {
        Self {
            access: access.to_owned(),
            secret: secret.to_owned(),
        }
    }

    /// All headers of a request but `Host`: those to add, those of the signature, and it.
    ///
    /// `path` is `/bucket/key?name=value`; nothing in it may need escapes. Names of headers are in lower case.
    #[must_use]
    pub fn sign(
        &self,
        method: &str,
        host: &str,
        path: &str,
        add: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        let (time, payload) = (now(), "UNSIGNED-PAYLOAD");
        let mut headers = vec![
            ("host", host),
            ("x-amz-content-sha256", payload),
            ("x-amz-date", &time),
        ];
        headers.extend(add);
        headers.sort_unstable();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let line = |(name, value): &(&str, &str)| format!("{name}:{value}\n");
        let lines: String = headers.iter().map(line).collect();
        let (before, query) = path.split_once('?').unwrap_or((path, ""));
        let mut pairs: Vec<String> = query.split('&').map(with_equals).collect();
        pairs.sort();
        let query = pairs.join("&");
        let canonical = format!("{method}\n{before}\n{query}\n{lines}\n{names}\n{payload}");
        let scope = format!("{}/us-east-1/s3/aws4_request", &time[..8]);
        let hash = hex(&Sha256::digest(canonical));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{hash}");
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for word in [&time[..8], "us-east-1", "s3", "aws4_request", &text] {
            key = hmac(&key, word.as_bytes());
        }
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            self.access,
            hex(&key)
        );
        let others = headers.iter().filter(|(name, _)| *name != "host");
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut all: Vec<_> = others.map(owned).collect();
        all.push(("authorization".to_owned(), authorization));
        all
    }
}

fn with_equals(pair: &str) -> String {
    match pair.contains('=') || pair.is_empty() {
        true => pair.to_owned(),
        false => format!("{pair}="),
    }
}

pub(crate) fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
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

/// `20260131T235959Z`, now.
fn now() -> String {
    let ((year, month, day), rest) = date(seconds());
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// `Sat, 31 Jan 2026 23:59:59 GMT`, now.
pub(crate) fn http_date() -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = seconds();
    let ((year, month, day), rest) = date(seconds);
    let weekday = DAYS[(seconds / 86400 % 7) as usize];
    let month = MONTHS[month as usize - 1];
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Since 1970.
fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// Year, month and day, and the seconds since midnight.
fn date(seconds: u64) -> ((u64, u64, u64), u64) {
    // The years begin in March, and 400 of them have 146097 days.
    let shifted = seconds / 86400 + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    ((year, month, day), seconds % 86400)
}

#[test]
fn dates_are_those_of_the_calendar() {
    assert_eq!(date(0), ((1970, 1, 1), 0));
    assert_eq!(date(951_782_400), ((2000, 2, 29), 0));
    assert_eq!(date(1_798_761_599), ((2026, 12, 31), 86399));
}
