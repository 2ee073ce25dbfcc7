//! The little that is read of the server's XML.

use quick_xml::Reader;
use quick_xml::events::Event;

/// The text of the first element named `tag`.
pub(super) fn first(xml: &str, tag: &str) -> Option<String> {
    let mut found = None;
    each(xml, |path, text| {
        if found.is_none() && path.last().is_some_and(|name| name == tag) {
            found = Some(text.to_owned());
        }
    });
    found
}

/// Calls `take` with the names of the open elements and the text, for every element that holds text. Malformed XML ends it: what
/// is missing then is missed by the caller.
pub(super) fn each(xml: &str, mut take: impl FnMut(&[String], &str)) {
    let mut reader = Reader::from_str(xml);
    let mut open: Vec<String> = Vec::new();
    let mut text = String::new();
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                let name = start.local_name();
                open.push(name.as_ref().to_owned());
                text.clear();
            }
            Ok(Event::Text(part)) => text.push_str(&part),
            Ok(Event::GeneralRef(name)) => text.push_str(&resolve(&name)),
            Ok(Event::End(_)) => {
                if !text.is_empty() {
                    take(&open, &text);
                }
                text.clear();
                open.pop();
            }
            Ok(Event::Eof) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// `&quot;`, `&#34;` and the like.
fn resolve(reference: &quick_xml::events::BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    match reference.as_ref() {
        "quot" => "\"",
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "apos" => "'",
        _ => "",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_by_the_names_around_them() {
        let xml = r#"<?xml version="1.0"?><R><P><N>1</N><E>&quot;a&#38;b&quot;</E></P><P><N>2</N></P></R>"#;
        let mut found = Vec::new();
        each(xml, |path, text| {
            found.push((path.join("/"), text.to_owned()))
        });
        let texts: Vec<_> = found
            .iter()
            .map(|(path, text)| (&**path, &**text))
            .collect();
        assert_eq!(
            texts,
            [("R/P/N", "1"), ("R/P/E", "\"a&b\""), ("R/P/N", "2")]
        );
        assert_eq!(first(xml, "N").as_deref(), Some("1"));
        assert_eq!(first("<a><b>", "b"), None);
    }
}
