//! The links of an index page: Apache, nginx, Python's http.server, Caddy and others.

use std::collections::HashSet;

use url::Url;

use crate::remote::web::text;

/// Something that an index page links to, directly in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) lossy: bool,
    pub(super) is_folder: bool,
}

/// The entries that the page at `base` links to, each once.
pub(super) fn links(base: &Url, page: &str) -> Vec<Link> {
    let mut seen = HashSet::new();
    let links = hrefs(page).into_iter().filter_map(|href| link(base, &href));
    links
        .filter(|link| seen.insert(link.name.clone()))
        .collect()
}

fn link(base: &Url, href: &str) -> Option<Link> {
    // Links that sort the page, and such to a place in it.
    if href.is_empty() || href.starts_with(['?', '#']) {
        return None;
    }
    let to = base.join(href).ok()?;
    if to.origin() != base.origin() || to.query().is_some() {
        return None;
    }
    let folder = &base.path()[..=base.path().rfind('/')?];
    let rest = to.path().strip_prefix(folder)?;
    let part = rest.strip_suffix('/').unwrap_or(rest);
    if part.is_empty() || part.contains('/') {
        return None;
    }
    let (name, lossy) = text::decode(part);
    Some(Link {
        name,
        lossy,
        is_folder: rest.ends_with('/'),
    })
}

/// The targets of all `<a href=...>`.
fn hrefs(page: &str) -> Vec<String> {
    // Only ASCII letters change: places stay where they are.
    let lower = page.to_ascii_lowercase();
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(start) = lower[at..].find("<a").map(|start| at + start + 2) {
        at = start;
        if !lower[at..].starts_with(|c: char| c.is_ascii_whitespace()) {
            continue;
        }
        let Some(end) = end_of_tag(&lower[at..]) else {
            break;
        };
        found.extend(href(&page[at..at + end], &lower[at..at + end]));
        at += end;
    }
    found
}

/// Where a tag ends; a `>` in quotes does not end it.
fn end_of_tag(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (c, quote) {
            ('>', None) => return Some(at),
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

fn href(tag: &str, lower: &str) -> Option<String> {
    let mut at = 0;
    loop {
        let name = at + lower[at..].find("href")?;
        at = name + 4;
        let alone =
            lower[..name].ends_with(|c: char| c.is_ascii_whitespace() || c == '"' || c == '\'');
        let Some(value) = tag[at..].trim_start().strip_prefix('=') else {
            continue;
        };
        if !alone {
            continue;
        }
        let value = value.trim_start();
        let value = match value.chars().next()? {
            quote @ ('"' | '\'') => value[1..].split(quote).next()?,
            _ => value.split_ascii_whitespace().next()?,
        };
        return Some(unescape(value.trim()));
    }
}

/// The characters that pages escape in addresses.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let entity = after
            .split_once(';')
            .and_then(|(name, after)| Some((entity(name)?, after)));
        match entity {
            Some((c, after)) => {
                out.push(c);
                rest = after;
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        _ => {}
    }
    let number = name.strip_prefix('#')?;
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    char::from_u32(code.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str) -> Vec<String> {
        let base = Url::parse("http://host:80/pub/d%20d/").unwrap();
        let links = links(&base, page).into_iter();
        links
            .map(|link| {
                if link.is_folder {
                    link.name + "/"
                } else {
                    link.name
                }
            })
            .collect()
    }

    #[test]
    fn apache() {
        let page = r#"<table><tr><th><a href="?C=N;O=D">Name</a></th></tr>
<tr><td><a href="/pub/">Parent Directory</a></td></tr>
<tr><td><a href="a%20b.txt">a b.txt</a></td></tr><tr><td><a href="a&amp;b">a</a></td></tr><tr><td><a href="sub/">sub/</a></td></tr>"#;
        assert_eq!(found(page), ["a b.txt", "a&b", "sub/"]);
    }

    #[test]
    fn nginx() {
        let page = "<h1>Index of /</h1><hr><pre><a href=\"../\">../</a>\n<a href=\"%25%23%3F\">x</a>  21-Nov-2026 15:33   7\n<a href=\"x/\">x/</a>\n</pre>";
        assert_eq!(found(page), ["%#?", "x/"]);
    }

    #[test]
    fn python_and_caddy() {
        let page = "<ul><li><a href=\"%C3%A4.txt\">ä.txt</a></li><li><A class='a>b' HREF='./deep/'>deep</A></li><li><a href=./plain >p</a></ul>";
        assert_eq!(found(page), ["ä.txt", "deep/", "plain"]);
    }

    #[test]
    fn what_is_elsewhere_is_no_entry() {
        let page = r##"<a href="http://other/pub/d%20d/x">x</a><a href="/x">x</a><a href="a/b">x</a><a href="..">x</a><a href="#top">x</a>
<a href="mailto:a@b">x</a><a data-href="y">x</a><a name="z">x</a><abbr href="q">x</abbr><a href="/pub/d%20d/in">x</a><a href="in">again</a><a href="in?x=1">x</a><a href="u"##;
        assert_eq!(found(page), ["in"]);
    }
}
