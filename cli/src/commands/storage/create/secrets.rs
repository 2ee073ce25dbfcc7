//! Secrets from stdin.

use std::io::{self, IsTerminal, Read};

use serde_json::Value;

use crate::args::Word;
use crate::commands::Context;
use crate::error::{CliError, CliResult};

/// No credentials are longer.
const MOST_BYTES: u64 = 1 << 20;

/// What stdin says, if an option asks for it. A word that is not `-` may be a secret: it is refused, and not repeated.
pub fn read(context: &Context<'_>, asked: &[(String, Word)]) -> CliResult<Option<Value>> {
    let Some((name, Word(word))) = asked.first() else {
        return Ok(None);
    };
    let option = format!("--{}", name.replace('_', "-"));
    if asked.len() > 1 {
        return Err(CliError::Usage(format!(
            "{option} and another option both read stdin; give one of them"
        )));
    }
    if word != "-" {
        return Err(CliError::Usage(format!(
            "{option} takes only `-`, and reads secrets from stdin: everybody on this machine can read the words of a command (if you gave a secret here, change it)"
        )));
    }
    let stdin = io::stdin();
    if stdin.is_terminal() {
        context
            .output
            .talk("Write the secrets as a JSON object, and end with Ctrl-D:");
    }
    parse(&option, stdin.lock()).map(Some)
}

fn parse(option: &str, from: impl Read) -> CliResult<Value> {
    let mut text = Vec::new();
    from.take(MOST_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|error| {
            CliError::Failed(format!(
                "{option}: cannot read stdin: {error}; give a file there"
            ))
        })?;
    if text.len() as u64 > MOST_BYTES {
        return Err(CliError::Usage(format!(
            "{option}: stdin holds more than 1 MiB; give the secrets and nothing else"
        )));
    }
    match serde_json::from_slice(&text) {
        Ok(secrets @ Value::Object(_)) => Ok(secrets),
        Ok(_) => Err(CliError::Usage(format!(
            "{option}: stdin holds no JSON object; write {{\"name\": \"value\", ...}}"
        ))),
        // Its text may repeat what it read.
        Err(error) => Err(CliError::Usage(format!(
            "{option}: stdin holds no JSON (line {}, column {}); write {{\"name\": \"value\", ...}}",
            error.line(),
            error.column()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_read_and_anything_else_refused_without_repeating_it() {
        let read = |text: &str| parse("--credentials", text.as_bytes());
        assert_eq!(read(" {\"a\": \"hush\"}\n").unwrap(), json!({"a": "hush"}));
        for wrong in [
            "",
            "hush",
            "\"hush\"",
            "[\"hush\"]",
            "{\"hush\"",
            "{\"a\": hush}",
            "{} hush",
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(
                error.starts_with("--credentials: ") && !error.contains("hush"),
                "{error}"
            );
        }
        let long = format!("{{\"a\": \"{}\"}}", "x".repeat(1 << 20));
        assert!(read(&long).unwrap_err().to_string().contains("1 MiB"));
    }
}
