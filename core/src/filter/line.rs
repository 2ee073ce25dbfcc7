//! One line of a `.gitignore`, in the words of the matcher.
//!
//! The matcher speaks a little more and a little less than git. What git takes literally is escaped, and what would quietly match
//! something else than in git is refused: a rule that does not match what its author meant lets out what should have stayed.

/// `line` as the matcher takes it; `None` for an empty line or a comment. With `fold` case makes no difference.
pub(super) fn translate(line: &str, fold: bool) -> Result<Option<String>, &'static str> {
    if line.starts_with('#') {
        return Ok(None);
    }
    let line = trimmed(line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return Ok(None);
    }
    if line.contains('\0') {
        return Err("no name holds a NUL byte; save the file as UTF-8");
    }
    let (not, pattern) = match line.strip_prefix('!') {
        Some(pattern) => ("!", pattern),
        None => ("", line),
    };
    if pattern.trim_matches('/').is_empty() {
        return Err("it names no file or folder");
    }
    if pattern.contains("//") {
        return Err("no path has an empty part (`//`)");
    }
    let folded;
    let pattern = match fold {
        true => {
            folded = pattern.to_lowercase();
            &*folded
        }
        false => pattern,
    };
    let anchored = pattern.trim_end_matches('/').contains('/');
    let (pattern, odd) = rewritten(pattern)?;
    // The slash in a class must not look like one that ties the rule to the root.
    let everywhere = if odd && !anchored { "**/" } else { "" };
    Ok(Some(format!("{not}{everywhere}{pattern}")))
}

/// Without the white space at its end, but for what a backslash keeps.
fn trimmed(mut line: &str) -> &str {
    while let Some(rest) = line.strip_suffix([' ', '\t']) {
        let backslashes = rest.len() - rest.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            break;
        }
        line = rest;
    }
    line
}

/// Braces escaped, and no class that takes a slash; with whether there was such a class.
fn rewritten(pattern: &str) -> Result<(String, bool), &'static str> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut odd = false;
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                out.push(c);
                out.push(chars.next().ok_or("it ends in a lone `\\`")?);
            }
            // Choices in braces are the matcher's own idea.
            '{' | '}' => out.extend(['\\', c]),
            '[' => odd |= class(&mut chars, &mut out)?,
            // Three stars and more are two.
            '*' if out.ends_with("**") && !out.ends_with("\\**") => {}
            _ => out.push(c),
        }
    }
    Ok((out, odd))
}

/// Copies a class whose `[` was read, and says whether it was made not to match a slash.
fn class(chars: &mut std::str::Chars<'_>, out: &mut String) -> Result<bool, &'static str> {
    const OPEN: &str = "a `[` is not closed; write `\\[` for the character itself";
    out.push('[');
    let mut first = chars.next().ok_or(OPEN)?;
    let negated = matches!(first, '!' | '^');
    if negated {
        out.push('^');
        first = chars.next().ok_or(OPEN)?;
    }
    let mut next = first;
    let mut begun = false;
    loop {
        match next {
            ']' if begun => break,
            '\\' => {
                return Err("a `\\` within `[...]` is not understood; write the character alone");
            }
            '[' if chars.as_str().starts_with([':', '.', '=']) => {
                return Err("a named class (`[:digit:]`) is not understood; write a range (`0-9`)");
            }
            '/' => return Err("a `/` within `[...]` matches nothing"),
            c => out.push(c),
        }
        begun = true;
        next = chars.next().ok_or(OPEN)?;
    }
    if negated {
        // A `-` at the end means itself, and must stay there.
        let dash = out.ends_with('-') && out.pop().is_some();
        out.push_str(if dash { "/-" } else { "/" });
    }
    out.push(']');
    Ok(negated)
}
