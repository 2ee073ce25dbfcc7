//! Code without comments and literals, and the paths that it names.

/// The code with the inside of comments, strings and characters replaced by spaces; lines stay where they are.
pub fn only_code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, is_code) = next_token(rest, code.chars().next_back());
        let (token, behind) = rest.split_at(length.max(first.len_utf8()));
        if is_code {
            code.push_str(token);
        } else {
            code.extend(token.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = behind;
    }
    code
}

/// How long the next token is, and whether it is code.
fn next_token(rest: &str, before: Option<char>) -> (usize, bool) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), false);
    }
    if rest.starts_with('"') {
        return (quoted(rest, '"'), false);
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with('r') && !in_word {
        let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
        if rest[1 + hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = 2 + hashes;
            let inside = rest[start..]
                .find(&end)
                .unwrap_or(rest.len() - start - end.len());
            return (start + inside + end.len(), false);
        }
    }
    if rest.starts_with('\'') && is_character(rest) {
        return (quoted(rest, '\''), false);
    }
    (1, true)
}

/// `'a'` and `'\n'`, but not the lifetime `'a`.
fn is_character(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = rest[1..].find(|c| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(rest.len(), |end| end + 2)
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let here = &rest[at..];
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += here.chars().next().map_or(0, char::len_utf8);
        }
        if depth == 0 || at >= rest.len() {
            return at;
        }
    }
}

/// The lines (from 1) in which code names `path`: a word, or words with `::` between them. `std::{a, fs::b}` names `std::fs`.
pub fn lines_naming(code: &str, path: &str) -> Vec<usize> {
    let parts: Vec<&str> = path.split("::").collect();
    let starts = code.match_indices(parts[0]).map(|(at, _)| at);
    let named = starts.filter(|at| {
        let whole = !code[..*at].ends_with(is_word);
        whole && names(&code[*at..], &parts)
    });
    named
        .map(|at| code[..at].matches('\n').count() + 1)
        .collect()
}

fn names(code: &str, parts: &[&str]) -> bool {
    let Some(behind) = code
        .strip_prefix(parts[0])
        .filter(|behind| !behind.starts_with(is_word))
    else {
        return false;
    };
    let Some(next) = parts.get(1..).filter(|parts| !parts.is_empty()) else {
        return true;
    };
    let Some(behind) = behind.trim_start().strip_prefix("::") else {
        return false;
    };
    let behind = behind.trim_start();
    match behind.strip_prefix('{') {
        None => names(behind, next),
        Some(group) => members(group).any(|member| names(member, next)),
    }
}

/// What a `{...}` of a `use` lists, each from its first word to the end of the text.
fn members(group: &str) -> impl Iterator<Item = &str> {
    let (mut depth, mut starts) = (0, vec![0]);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts.push(at + 1),
            _ => {}
        }
    }
    starts.into_iter().map(|at| group[at..].trim_start())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn comments_and_literals_are_no_code() {
    let text = r##"a /* tokio /* b */ c */ "tokio \" x" 'x' '\'' '"' r#"tokio"# // tokio
fn f<'a>(x: &'a str) -> char { 'é' }"##;
    let code = only_code(text);
    assert!(!code.contains("tokio"));
    assert!(code.contains("fn f<'a>(x: &'a str) -> char {"));
    assert_eq!(code.lines().count(), 2);
}

#[test]
fn paths_are_found_in_all_their_spellings() {
    for code in [
        "use std::fs;",
        "use std::fs::File;",
        "use std::{io, fs};",
        "use std::{\n    collections::{A, B},\n    fs::File,\n};",
        "let x = std :: fs :: read(p);",
    ] {
        assert_eq!(lines_naming(code, "std::fs"), [1], "{code}");
    }
    for code in [
        "use std::io;",
        "use std::{io::{self, fs}, fmt};",
        "mystd::fs",
        "std::fsx",
        "fs",
    ] {
        assert!(lines_naming(code, "std::fs").is_empty(), "{code}");
    }
    assert_eq!(lines_naming("x\nasync fn f() {}", "async"), [2]);
    assert!(lines_naming("async_trait", "async").is_empty());
}
