//! Percent signs, entity tags and dates.

use wl_core::model::Timestamp;

/// Appends one part of a path; everything but letters, digits and `-._~` is escaped.
pub(crate) fn encode(part: &str, into: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            into.push('%');
            into.push(char::from(HEX[usize::from(byte >> 4)]));
            into.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// The text of an escaped part, and whether it had to be changed because it is no UTF-8. A `%` that begins no escape stays: there are
/// servers that escape nothing.
pub(crate) fn decode(part: &str) -> (String, bool) {
    let bytes = part.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    match String::from_utf8(out) {
        Ok(text) => (text, false),
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), true),
    }
}

/// What is within the quotes of a strong entity tag; `None` if it is weak, or nothing that could be sent back. Some servers leave the quotes
/// out.
pub(crate) fn tag(text: &str) -> Option<Box<str>> {
    let text = text.trim();
    if text.starts_with("W/") || text.starts_with("w/") {
        return None;
    }
    inner(text)
}

/// What is within the quotes, weak or not.
pub(crate) fn inner(text: &str) -> Option<Box<str>> {
    let text = text.trim();
    let text = text
        .strip_prefix("W/")
        .or_else(|| text.strip_prefix("w/"))
        .unwrap_or(text);
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let text = quoted.unwrap_or(text);
    let plain = |b: u8| (0x21..=0x7e).contains(&b) && b != b'"';
    // A tag that begins with `@` would be taken for a time by the tokens that are made of it.
    (!text.is_empty() && text.bytes().all(plain) && !text.starts_with('@')).then(|| text.into())
}

/// `Sat, 21 Nov 2026 15:33:13 GMT`.
pub(crate) fn date(text: &str) -> Option<Timestamp> {
    let (_, rest) = text.trim().split_once(", ")?;
    let mut parts = rest.split([' ', '-']);
    let day: i64 = parts.next()?.parse().ok()?;
    let month = month(parts.next()?)?;
    let year: i64 = parts.next()?.parse().ok()?;
    let mut clock = parts
        .next()?
        .split(':')
        .map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let fits = (1..=31).contains(&day) && (1601..=9999).contains(&year);
    if !fits || !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..61).contains(&second)
    {
        return None;
    }
    let secs = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(Timestamp { secs, nanos: 0 })
}

fn month(name: &str) -> Option<i64> {
    const NAMES: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let at = NAMES.iter().position(|known| *known == name)?;
    i64::try_from(at + 1).ok()
}

/// Days since 1970: years are counted from March, so that the odd day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back_from_its_escaped_form() {
        for name in [
            "a b", " x ", "100%", "%41", "a#b?c", "ä", "a\\b", "a\nb", "...", "a+b&c;d",
        ] {
            let mut text = String::new();
            encode(name, &mut text);
            assert!(text.is_ascii(), "{text}");
            assert_eq!(decode(&text), (name.to_owned(), false));
        }
        assert_eq!(decode("50% off%zz"), ("50% off%zz".to_owned(), false));
        assert_eq!(decode("%ff"), ("\u{fffd}".to_owned(), true));
    }

    #[test]
    fn only_strong_tags_prove_something_and_quotes_do_not_count() {
        assert_eq!(tag("\"5-660cb\"").as_deref(), Some("5-660cb"));
        assert_eq!(tag(" 5-660cb ").as_deref(), Some("5-660cb"));
        for none in ["W/\"5\"", "\"\"", "", "\"a b\"", "\"a\"b\"", "\"@1\""] {
            assert_eq!(tag(none), None, "{none}");
        }
        assert_eq!(inner("W/\"5\"").as_deref(), Some("5"));
    }

    #[test]
    fn dates_are_seconds_since_1970() {
        let secs = |text| date(text).map(|at| at.secs);
        assert_eq!(secs("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(secs("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(secs("Tue, 29 Feb 2000 23:59:59 GMT"), Some(951_868_799));
        assert_eq!(secs("Wed, 31 Dec 1969 23:59:59 GMT"), Some(-1));
        for none in [
            "",
            "yesterday",
            "Sat, 99 Nov 2026 15:33:13 GMT",
            "Sat, 1 Foo 2026 1:1:1 GMT",
        ] {
            assert_eq!(secs(none), None, "{none}");
        }
    }
}
