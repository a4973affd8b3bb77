//! Patterns for names: `*`, `?`, `[a-z]`, `[!a-z]` and `\` before a byte that is to mean itself.

/// Does `name` hold anything that a pattern is made of?
pub fn is_pattern(name: &[u8]) -> bool {
    name.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// Does all of `name` match `pattern`?
///
/// One star at a time: when a later star is reached, what an earlier one took is settled, because
/// the later one can take up any slack. So there is never more than one place to go back to, and the
/// time is bounded by the product of both lengths, whatever the pattern.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    // What follows the last star, and the rest of the name when it had taken nothing more yet.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', rest)) = pattern.split_first() {
            pattern = rest;
            retry = Some((rest, name));
            continue;
        }
        match name.split_first() {
            None if pattern.is_empty() => return true,
            // The star can only take more, and nothing is left to take.
            None => return false,
            Some((&byte, rest)) => {
                if let Some(after) = one(pattern, byte) {
                    (pattern, name) = (after, rest);
                    continue;
                }
            }
        }
        let Some((after_star, (_, one_more))) =
            retry.and_then(|(after, from)| Some((after, from.split_first()?)))
        else {
            return false;
        };
        retry = Some((after_star, one_more));
        (pattern, name) = (after_star, one_more);
    }
}

/// Matches one byte against the pattern's first element; what is left of the pattern if it does.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern.split_first()? {
        (b'?', rest) => Some(rest),
        (b'\\', [escaped, rest @ ..]) => (*escaped == byte).then_some(rest),
        (b'[', class) => match set(class, byte) {
            Some((true, rest)) => Some(rest),
            Some((false, _)) => None,
            // Without its end it is a bracket.
            None => (byte == b'[').then_some(class),
        },
        (&literal, rest) => (literal == byte).then_some(rest),
    }
}

/// Is `byte` in the set, whose opening bracket is taken off already? And what follows the set.
fn set(class: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (negated, mut members) = match class {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    let mut first = true;
    loop {
        members = match members {
            [] => return None,
            // In the first place it is a member.
            [b']', rest @ ..] if !first => return Some((found != negated, rest)),
            [low, b'-', high, rest @ ..] if *high != b']' => {
                found |= (*low..=*high).contains(&byte);
                rest
            }
            [member, rest @ ..] => {
                found |= *member == byte;
                rest
            }
        };
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_as_shells_have_them() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("*.txt", "a.txt", true),
            ("*.txt", ".txt", true),
            ("*.txt", "a.txt2", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[!a-c]x", "dx", true),
            ("[^a-c]x", "ax", false),
            ("[]]", "]", true),
            ("[!]]", "]", false),
            ("[a-]", "-", true),
            ("[a", "[a", true),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("\\", "\\", true),
            ("**a**", "bab", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    /// What takes a backtracking matcher longer than the universe is old: one way for each choice of
    /// where the 500 stars end.
    #[test]
    fn many_stars_cost_no_more_than_the_product_of_the_lengths() {
        let pattern = [b"*a".repeat(500), b"b".to_vec()].concat();
        let name = vec![b'a'; 4000];
        assert!(!matches(&pattern, &name));
    }

    /// The obvious matcher, exponential.
    fn plain(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|at| plain(rest, &name[at..])),
            Some((&first, rest)) => name
                .split_first()
                .is_some_and(|(&byte, tail)| (first == b'?' || first == byte) && plain(rest, tail)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_obvious_matcher(pattern in "[ab?*]{0,8}", name in "[ab]{0,10}") {
            let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(matches(pattern, name), plain(pattern, name));
        }

        #[test]
        fn any_bytes_are_answered(pattern: Vec<u8>, name: Vec<u8>) {
            matches(&pattern, &name);
        }
    }
}
