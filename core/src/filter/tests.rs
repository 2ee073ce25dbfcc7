use super::*;

fn rules(lines: &[&str], fold: bool) -> Result<Rules, RuleError> {
    let rule = |line: &&str| Rule {
        line: (*line).to_owned(),
        origin: Origin::CommandLine,
    };
    Rules::new(lines.iter().map(rule), fold)
}

fn path(text: &str) -> SyncPath {
    SyncPath::new(text).unwrap()
}

/// As a listing asks: a folder ends in `/`, and those above come first.
fn left_out(rules: &Rules, text: &str) -> bool {
    let (at, folder) = match text.strip_suffix('/') {
        Some(at) => (path(at), true),
        None => (path(text), false),
    };
    at.ancestors().any(|above| rules.excludes(&above, true)) || rules.excludes(&at, folder)
}

#[test]
fn in_a_git_folder_only_rules_count_that_speak_of_it() {
    let lines = [
        "build/",
        "*.log",
        "**/.git/*.lock",
        "!**/.git/keep.lock",
        "x/.git/hooks/",
    ];
    let rules = rules(&lines, false).unwrap();
    for out in ["build/", "a.log", ".git/index.lock", "x/.git/hooks/"] {
        assert!(left_out(&rules, out), "{out}");
    }
    for not in [
        ".git/refs/heads/build/",
        "x/.git/a.log",
        ".git/keep.lock",
        ".git/hooks/",
    ] {
        assert!(!left_out(&rules, not), "{not}");
    }
    let why = rules.reason(&path("x/.git/index.lock"), false).unwrap();
    assert!(why.contains("**/.git/*.lock"), "{why}");
    let rules = super::Rules::new([Rule::exclude(".git/", Origin::CommandLine)], false).unwrap();
    assert!(left_out(&rules, "x/.git/") && left_out(&rules, "x/.git/HEAD"));
}

/// Lines, what they leave out, what they do not. Each was held against `git check-ignore --no-index` of git 2.
const AS_GIT: &[(&[&str], &[&str], &[&str])] = &[
    (&["a"], &["a", "a/", "x/a", "x/a/y"], &["ab", "b", "A"]),
    (&["/a"], &["a", "a/", "a/b"], &["x/a", "x/a/"]),
    (&["a/"], &["a/", "a/b", "x/a/"], &["a", "x/a"]),
    (&["/a/"], &["a/", "a/b"], &["a", "x/a/", "x/a"]),
    (&["a/b"], &["a/b", "a/b/", "a/b/c"], &["x/a/b", "a/", "b"]),
    (&["a/b/"], &["a/b/", "a/b/c"], &["a/b", "x/a/b/"]),
    (&["**/a"], &["a", "x/a", "x/y/a/"], &["xa", "ab"]),
    (&["**/a/b"], &["a/b", "x/a/b", "x/y/a/b"], &["a/x/b", "b"]),
    (&["a/**"], &["a/b", "a/b/c", "a/b/"], &["a", "a/", "x/a/b"]),
    (
        &["a/**/b"],
        &["a/b", "a/x/b", "a/x/y/b"],
        &["x/a/b", "ab", "a/xb"],
    ),
    (&["a**b"], &["ab", "axxb", "x/ab"], &["a/b", "a/x/b"]),
    (&["**"], &["a", "a/", "a/b"], &[]),
    (
        &["*.o"],
        &["a.o", "x/a.o", ".o", "a.o/"],
        &["a.ox", "ao", "a.O"],
    ),
    (&["/*.o"], &["a.o"], &["x/a.o"]),
    (&["x/*.o"], &["x/a.o"], &["a.o", "x/y/a.o", "y/x/a.o"]),
    (&["a?c"], &["abc", "x/abc"], &["ac", "a/c", "abbc"]),
    (&["[a-c]x"], &["ax", "cx"], &["dx", "-x"]),
    (
        &["[!a]x", "[^b]y"],
        &["bx", "ay", "d/bx"],
        &["ax", "by", "d/x", "x"],
    ),
    (&["a[^b]c"], &["axc", "d/axc"], &["a/c", "abc"]),
    (&["a[^b-]c"], &["axc"], &["a/c", "abc", "a-c"]),
    (&["[]-]x"], &["]x", "-x"], &["ax"]),
    (&["[^]]x"], &["ax"], &["]x", "d/]x"]),
    (&["a", "!a"], &[], &["a", "a/", "x/a"]),
    (&["*.o", "!k.o"], &["a.o"], &["k.o", "x/k.o"]),
    (&["!k.o", "*.o"], &["a.o", "k.o"], &[]),
    (&["d/", "!d/k"], &["d/", "d/k"], &["k"]),
    (&["d/*", "!d/k"], &["d/a", "d/x/"], &["d/", "d/k"]),
    (
        &["*", "!*/", "!*.c"],
        &["a", "x/a"],
        &["a.c", "x/", "x/a.c"],
    ),
    (&["a", "!a/"], &["a"], &["a/", "a/x"]),
    (&["# a", "#a"], &[], &["#a", "a", "# a"]),
    (&["\\#a"], &["#a", "x/#a"], &["a", "\\#a"]),
    (&["\\!a"], &["!a", "x/!a"], &["a"]),
    (&["\\a"], &["a"], &["\\a"]),
    (&["\\*"], &["*"], &["a"]),
    (&["a  "], &["a"], &["a  ", "a "]),
    (&["a\\ "], &["a "], &["a", "a  "]),
    (&["a\\ \\ "], &["a  "], &["a", "a "]),
    (&[" a"], &[" a"], &["a"]),
    (&["a b"], &["a b"], &["a", "b"]),
    (&["{a,b}"], &["{a,b}"], &["a", "b"]),
    (&["a{"], &["a{"], &["a"]),
    (&["*.{c,o}"], &["x.{c,o}"], &["x.c", "x.o"]),
    (&["é"], &["é", "x/é"], &["e", "É"]),
    (&["ä*"], &["äx"], &["ax"]),
    (&["-a", "."], &["-a"], &["a", "b"]),
    (&[""], &[], &["a"]),
    (&["a/**/"], &["a/b/", "a/b/c"], &["a/b", "a/"]),
    (&["**/"], &["a/", "a/b"], &["a"]),
    (&["/**/a"], &["a", "x/a"], &["b"]),
    (&["***/a"], &["a", "x/a", "x/y/a/"], &["xa"]),
    (&["x/****/a"], &["x/a", "x/y/a"], &["a"]),
    (&["\\***a"], &["*a", "*xa"], &["a", "xa"]),
    (&["**a"], &["a", "xa", "x/ya"], &["ab"]),
    (&["a\\/b"], &["a/b"], &["a", "b"]),
    (&["*a*"], &["a", "xax", "y/xax"], &["x"]),
    (&["a.b"], &["a.b"], &["axb"]),
    (
        &["a+b", "(c)", "d|e", "$f", "^g"],
        &["a+b", "(c)", "d|e", "$f", "^g"],
        &["aab", "c", "d", "f", "g"],
    ),
];

#[test]
fn rules_are_those_of_gitignore() {
    for (lines, out, kept) in AS_GIT {
        // Comments and empty lines are what files have.
        let rule = |(at, line): (usize, &&str)| Rule {
            line: (*line).to_owned(),
            origin: Origin::File(Side::Source, at),
        };
        let rules = Rules::new(lines.iter().enumerate().map(rule), false).unwrap();
        for path in *out {
            assert!(
                left_out(&rules, path),
                "{lines:?} does not leave out {path:?}"
            );
        }
        for path in *kept {
            assert!(!left_out(&rules, path), "{lines:?} leaves out {path:?}");
        }
    }
}

#[test]
fn what_would_match_something_else_than_in_git_is_refused_and_named() {
    for (line, why) in [
        ("[", "not closed"),
        ("a[b", "not closed"),
        ("a[!", "not closed"),
        ("a\\", "lone"),
        ("[[:digit:]]", "named class"),
        ("[a\\]]", "within"),
        ("[a/b]", "within"),
        ("[z-a]", "invalid"),
        ("!", "names no file"),
        ("/", "names no file"),
        ("!//", "names no file"),
        ("a//b", "empty part"),
        ("a\0b", "NUL"),
    ] {
        let error = rules(&["fine", line], false).unwrap_err().to_string();
        assert!(error.contains(why), "{line}: {error}");
        assert!(error.contains("the command line"), "{error}");
        assert!(error.contains(&line.escape_debug().to_string()), "{error}");
    }
    for nothing in ["", "  ", "#x", "\r"] {
        let error = rules(&[nothing], false).unwrap_err();
        assert!(matches!(error, RuleError::Empty(_)), "{error}");
    }
}

#[test]
fn a_file_is_read_whatever_editor_wrote_it() {
    let of = |content: &str| {
        let rules = rules::of_file(Side::Target, content.as_bytes()).unwrap();
        Rules::new(rules, false).unwrap()
    };
    for content in [
        "a\n!b\n",
        "a\r\n!b\r\n",
        "\u{feff}a\n!b",
        "\u{feff}a \r\n\r\n# c\r\n!b",
        "\n\na\n!b\n\n",
    ] {
        let rules = of(content);
        assert!(
            left_out(&rules, "a") && !left_out(&rules, "b"),
            "{content:?}"
        );
    }
    assert!(left_out(&of("a\\ \r\n"), "a "));
    assert!(of("").is_empty() && of("\u{feff}#a\r\n").is_empty());
    assert!(rules::of_file(Side::Source, b"a\xff").is_err());
    // UTF-16, as some editors save.
    let wide = rules::of_file(Side::Source, b"a\0\n\0").unwrap();
    assert!(Rules::new(wide, false).is_err());
}

#[test]
fn where_case_is_folded_rules_match_without_case() {
    for (line, name) in [
        ("Build", "bUILD"),
        ("*.TMP", "a.tmp"),
        ("*.tmp", "A.TMP"),
        ("[A-C]x", "bX"),
        ("Ärger", "äRGER"),
        ("A/B", "a/b"),
    ] {
        assert!(
            left_out(&rules(&[line], true).unwrap(), name),
            "{line} and {name}"
        );
        assert!(
            !left_out(&rules(&[line], false).unwrap(), name),
            "{line} and {name}"
        );
    }
    let back = rules(&["*.TMP", "!Keep.tmp"], true).unwrap();
    assert!(!left_out(&back, "KEEP.tmp"));
}

#[test]
fn the_reason_is_the_rule_that_won_and_where_it_stands() {
    let exclusions = Exclusions {
        presets: vec![Preset::Node],
        rules: vec![
            Rule {
                line: "*.o".to_owned(),
                origin: Origin::Manifest,
            },
            Rule {
                line: "!k.o".to_owned(),
                origin: Origin::CommandLine,
            },
        ],
        max_size: None,
    };
    let file = rules::of_file(Side::Source, b"#\nk.*\n").unwrap();
    let rules = Rules::new(exclusions.all_rules().chain(file), false).unwrap();
    let reason = |text: &str, folder| rules.reason(&path(text), folder);
    assert_eq!(
        reason("x/node_modules", true).unwrap(),
        "`node_modules/` (from the preset node)"
    );
    assert_eq!(reason("x/node_modules", false), None);
    assert_eq!(reason("a.o", false).unwrap(), "`*.o` (from the manifest)");
    assert_eq!(
        reason("k.o", false).unwrap(),
        "`k.*` (from .wlignore of the source, line 2)"
    );
    assert_eq!(reason("a.c", false), None);
}

#[test]
fn presets_are_rules_that_leave_sources_alone() {
    for preset in Preset::ALL {
        assert_eq!(preset.name().parse(), Ok(preset));
        Rules::new(preset.rules(), false).unwrap();
    }
    let all = Exclusions {
        presets: Preset::ALL.to_vec(),
        ..Exclusions::default()
    };
    let rules = Rules::new(all.all_rules(), false).unwrap();
    for kept in [
        "src/main.rs",
        "package.json",
        "a.py",
        ".git/",
        ".git/HEAD",
        ".git/objects/",
        "Cargo.lock",
        "target",
    ] {
        assert!(!left_out(&rules, kept), "{kept}");
    }
    for out in [
        "target/",
        "a/node_modules/",
        "a/b.pyc",
        "x/.git/index.lock",
        ".venv/",
    ] {
        assert!(left_out(&rules, out), "{out}");
    }
    let error = "nod".parse::<Preset>().unwrap_err();
    assert!(error.contains("node, python, rust, vcs-caches"), "{error}");
}

#[test]
fn sizes_are_read_as_they_are_written() {
    for (text, bytes) in [
        ("1", 1),
        ("5000", 5000),
        ("7B", 7),
        ("10K", 10 << 10),
        ("10k", 10 << 10),
        ("10KiB", 10 << 10),
        ("100M", 100 << 20),
        ("3G", 3 << 30),
        ("2TiB", 2 << 40),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(text.parse::<MaxSize>(), Ok(MaxSize(bytes)), "{text}");
        assert_eq!(MaxSize(bytes).to_string().parse(), Ok(MaxSize(bytes)));
    }
    for text in [
        "",
        "0",
        "0K",
        "K",
        "-1",
        "+1",
        "1.5M",
        "1 M",
        "10KB",
        "10iB",
        "1E",
        "1KK",
        "16777216T",
        "99999999999999999999",
    ] {
        let error = text.parse::<MaxSize>().unwrap_err();
        assert!(error.contains("100M"), "{text}: {error}");
    }
}
