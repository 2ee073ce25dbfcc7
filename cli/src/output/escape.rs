//! Names that may hold anything, made fit for a terminal and for a shell.

/// `text` without anything that a terminal would obey: control characters and marks that turn the direction of writing.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if obeyed(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

fn obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` as one word of a shell command.
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else if text.chars().any(obeyed) {
        let mut quoted = String::from("$'");
        for byte in text.bytes() {
            match byte {
                b'\\' | b'\'' => quoted.extend(['\\', char::from(byte)]),
                b' '..=b'~' => quoted.push(char::from(byte)),
                _ => quoted.push_str(&format!("\\x{byte:02x}")),
            }
        }
        quoted.push('\'');
        quoted
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_no_name() {
        assert_eq!(escape("a\x1b[2Jb\n\u{202e}c"), r"a\u{1b}[2Jb\n\u{202e}c");
        assert_eq!(escape("grün"), "grün");
    }

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for text in [
            "plain/a.txt",
            "",
            "it's",
            "a b",
            "a\nb",
            "-x",
            "$(x)",
            "ü\u{202e}'\\",
        ] {
            let out = std::process::Command::new("bash")
                .args([
                    "-c",
                    &format!("printf %s {}", quote(text).replace("-x", "./-x")),
                ])
                .output()
                .unwrap();
            let back = String::from_utf8(out.stdout).unwrap();
            assert_eq!(back.replace("./-x", "-x"), text);
        }
    }
}
