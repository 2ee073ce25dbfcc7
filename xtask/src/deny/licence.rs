//! SPDX licence expressions: `(MIT OR Apache-2.0) AND Unicode-3.0`.

use std::iter::Peekable;
use std::vec::IntoIter;

/// Whether an expression can be met with the allowed licences. `/` is the old way to write `OR`.
pub fn allowed(expression: &str, licences: &[String]) -> Result<bool, String> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
    let mut parser = Parser {
        words: words.into_iter().peekable(),
        licences,
    };
    let allowed = parser.any()?;
    match parser.words.next() {
        None => Ok(allowed),
        Some(word) => Err(format!("unexpected {word:?}")),
    }
}

struct Parser<'a> {
    words: Peekable<IntoIter<String>>,
    licences: &'a [String],
}

impl Parser<'_> {
    fn takes(&mut self, word: &str) -> bool {
        self.words.next_if(|next| next == word).is_some()
    }

    fn any(&mut self) -> Result<bool, String> {
        let mut allowed = self.all()?;
        while self.takes("OR") {
            allowed |= self.all()?;
        }
        Ok(allowed)
    }

    fn all(&mut self) -> Result<bool, String> {
        let mut allowed = self.one()?;
        while self.takes("AND") {
            allowed &= self.one()?;
        }
        Ok(allowed)
    }

    fn one(&mut self) -> Result<bool, String> {
        let Some(mut licence) = self.words.next() else {
            return Err("it ends too early".to_owned());
        };
        if licence == "(" {
            let allowed = self.any()?;
            return if self.takes(")") {
                Ok(allowed)
            } else {
                Err("a `)` is missing".to_owned())
            };
        }
        if self.takes("WITH") {
            let exception = self.words.next().ok_or("the exception is missing")?;
            licence = format!("{licence} WITH {exception}");
        }
        Ok(self.licences.contains(&licence))
    }
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn expressions_are_met_or_not() {
        let licences = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("MIT AND ISC", true),
            ("MIT OR GPL-3.0 AND BSD", true),
            ("(MIT OR GPL-3.0) AND BSD", false),
            ("(GPL-3.0 OR ISC) AND MIT", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("Apache-2.0 WITH other", false),
        ] {
            assert_eq!(allowed(expression, &licences), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_is_an_error() {
        for wrong in ["", "MIT OR", "(MIT", "MIT ISC", "MIT)", "MIT WITH"] {
            assert!(allowed(wrong, &["MIT".to_owned()]).is_err(), "{wrong}");
        }
    }
}
