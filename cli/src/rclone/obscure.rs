//! Passwords as rclone writes them down: "obscured", which keeps them from eyes and from nobody else.

use aes::Aes256;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};

/// The key in rclone's public source.
const KEY: [u8; 32] = [
    0x9c, 0x93, 0x5b, 0x48, 0x73, 0x0a, 0x55, 0x4d, 0x6b, 0xfd, 0x7c, 0x63, 0xc8, 0x86, 0xa9, 0x2b,
    0xd3, 0x90, 0x19, 0x8e, 0xb8, 0x12, 0x8a, 0xfb, 0xf4, 0xde, 0x16, 0x2b, 0x8b, 0x95, 0xf6, 0x38,
];

/// The length of what stands in front: where the cipher starts.
const IV: usize = 16;

/// The password; `None` if the text is none that rclone wrote.
pub fn reveal(obscured: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(obscured).ok()?;
    let (iv, rest) = bytes.split_at_checked(IV)?;
    let mut plain = rest.to_vec();
    let mut cipher = Ctr128BE::<Aes256>::new_from_slices(&KEY, iv).ok()?;
    cipher.apply_keystream(&mut plain);
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rclone_obscured_is_revealed() {
        for (obscured, plain) in OBSCURED {
            assert_eq!(reveal(obscured).as_deref(), Some(plain));
        }
    }

    #[test]
    fn what_rclone_did_not_write_is_no_password() {
        for wrong in ["", "a", "hush", "!!!", "AAAAAAAAAAAAAAAAAAAA=", "é"] {
            assert_eq!(reveal(wrong), None, "{wrong}");
        }
    }

    /// Made by `rclone obscure` 1.60.
    const OBSCURED: [(&str, &str); 3] = [
        ("HZa1eRgeW9i7YH8ZxQbbRGVaUrg", "hush"),
        (
            "ulxBWmNXPIKN3iHAKkh7AyOUJFOb05CcGAvNdDqoInqA7XndZzVQc6ojCZo7y5EssTP6mpDv",
            "grün & lang, with spaces and 'quotes'",
        ),
        ("pN0fA--Tt-5Y1Rwxa4mmxKk", "x"),
    ];
}
