//! The complete help, of every subcommand, in one file.

use crate::support::{Home, snapshot};

/// The names in a help text's list of commands.
fn children(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    list.take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The text without the list of storage types, which is that of the linked plug-ins.
fn without_types(help: &str) -> String {
    let mut parts: Vec<_> = help.split("\n\n").collect();
    parts.retain(|part| !part.starts_with("Types:"));
    parts.join("\n\n")
}

fn collect(home: &Home, words: &[String], text: &mut String) {
    let done = home.wl(words.iter().map(String::as_str).chain(["--help"]));
    assert_eq!(done.code, 0, "{words:?}: {done:?}");
    let title = words
        .iter()
        .fold("wl".to_owned(), |line, word| line + " " + word);
    let help: Vec<_> = done.stdout.lines().map(str::trim_end).collect();
    let help = help.join("\n");
    *text += &format!("# {title}\n\n{}\n\n", without_types(&help));
    for child in children(&help) {
        let words: Vec<_> = words.iter().cloned().chain([child]).collect();
        collect(home, &words, text);
    }
}

#[test]
fn the_complete_help_is_as_agreed() {
    let mut text = String::new();
    collect(&Home::new(), &[], &mut text);
    assert!(text.matches("\n# wl ").count() > 20, "{text}");
    snapshot("help.txt", &text);
}

#[test]
fn every_subcommand_has_a_line_that_says_what_it_does() {
    let mut text = String::new();
    collect(&Home::new(), &[], &mut text);
    for part in text.split("\n# wl") {
        let about = part.lines().nth(2).unwrap_or_default();
        assert!(!about.is_empty() && !about.ends_with('.'), "{part}");
        assert!(!about.starts_with("Usage"), "{part}");
    }
}
