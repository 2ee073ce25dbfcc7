//! Sizes as people write them.

use std::fmt;
use std::str::FromStr;

/// The size of the largest file that is synced, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MaxSize(pub u64);

const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

impl FromStr for MaxSize {
    type Err = String;

    /// Bytes, or a number and one of K, M, G and T (or KiB ...): powers of 1024.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no size; write bytes (5000), or a number with K, M, G or T (100M), which are powers of 1024"
            )
        };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = text[digits.len()..].to_ascii_uppercase();
        let letter = unit.strip_suffix("IB").unwrap_or(&unit);
        let shift = match letter {
            "" | "B" if letter.len() == unit.len() => 0,
            letter => {
                let unit = UNITS.iter().find(|(name, _)| letter.chars().eq([*name]));
                unit.ok_or_else(wrong)?.1
            }
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let count: u64 = digits.parse().map_err(|_| wrong())?;
        match count.checked_mul(1 << shift) {
            None | Some(0) => Err(wrong()),
            Some(bytes) => Ok(Self(bytes)),
        }
    }
}

impl fmt::Display for MaxSize {
    /// As it is read, in the largest unit that says it exactly.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |(_, shift): &&(char, u32)| self.0 != 0 && self.0.trailing_zeros() >= *shift;
        match UNITS.iter().rev().find(exact) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}
