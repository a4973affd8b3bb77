//! Arguments of more than one name: words apart by blanks, quoted where a name has blanks in it.

/// Splits `text` into words. Inside double quotes a blank is a blank, and a doubled quote is a
/// quote, as in a 257 (RFC 959 appendix II). `None`: a quote is not closed, or something follows it
/// without a blank.
pub(super) fn words(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = unblanked(text);
    while !rest.is_empty() {
        let (word, behind) = match rest.split_first() {
            Some((b'"', inside)) => quoted(inside)?,
            _ => {
                let end = rest.iter().position(|&byte| byte == b' ');
                let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
                (word.to_vec(), behind)
            }
        };
        if !behind.is_empty() && behind.first() != Some(&b' ') {
            return None;
        }
        words.push(word);
        rest = unblanked(behind);
    }
    Some(words)
}

/// Without the blanks in front. Other white space is part of a name.
fn unblanked(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| byte != b' ');
    text.get(start.unwrap_or(text.len())..).unwrap_or_default()
}

/// The word that ends with the quote that is not doubled, and what follows.
fn quoted(inside: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    let mut rest = inside;
    loop {
        let end = rest.iter().position(|&byte| byte == b'"')?;
        let (part, behind) = rest.split_at(end);
        word.extend_from_slice(part);
        match behind.get(1..) {
            Some([b'"', more @ ..]) => {
                word.push(b'"');
                rest = more;
            }
            behind => return Some((word, behind.unwrap_or_default())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_blanks() {
        let split = |text: &str| {
            words(text.as_bytes()).map(|words| {
                words
                    .iter()
                    .map(|word| String::from_utf8_lossy(word).into_owned())
                    .collect::<Vec<_>>()
                    .join("|")
            })
        };
        assert_eq!(split("").as_deref(), Some(""));
        assert_eq!(split(" a  b ").as_deref(), Some("a|b"));
        assert_eq!(split("a \n  b\t").as_deref(), Some("a|\n|b\t"));
        assert_eq!(split("\"a b\" c").as_deref(), Some("a b|c"));
        assert_eq!(
            split("\"say \"\"hi\"\"\" x").as_deref(),
            Some("say \"hi\"|x")
        );
        assert_eq!(split("a\"b\"").as_deref(), Some("a\"b\""));
        assert_eq!(split("\"\" x").as_deref(), Some("|x"));
        assert_eq!(split("\"a b"), None);
        assert_eq!(split("\"a\"b"), None);
    }
}
