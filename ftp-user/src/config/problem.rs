//! Pointing at what is wrong in a file: line, column, words. Used for the configuration and for the
//! users file, which are both TOML.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// One thing that is wrong, and where. `Display`: `FILE:LINE:COLUMN: what is wrong`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named to us.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem at the byte `offset` of `text`.
    pub fn at(file: &Path, text: &str, offset: usize, message: impl Into<String>) -> Problem {
        let mut end = offset.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let before = text.get(..end).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_text = before.get(line_start..).unwrap_or_default();
        Problem {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: line_text.chars().count() + 1,
            message: message.into(),
        }
    }

    /// What the TOML reader found, with a suggestion where a name looks misspelt.
    pub fn from_toml(file: &Path, text: &str, error: &toml::de::Error) -> Problem {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().trim_end();
        let message = match suggestion(message) {
            Some(name) => format!("{message}; did you mean `{name}`?"),
            None => message.replace('\n', "; "),
        };
        Problem::at(file, text, offset, message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        write!(f, "{file}:{}:{}: {}", self.line, self.column, self.message)
    }
}

/// Problems, a line each.
pub(crate) fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

/// Why a TOML file could not be taken as text.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// The file system says no.
    Io(io::Error),
    /// Not UTF-8.
    Text(Problem),
}

/// Reads a file that must be UTF-8.
pub(crate) fn read_text(file: &Path) -> Result<String, Unreadable> {
    let bytes = std::fs::read(file).map_err(Unreadable::Io)?;
    text(file, bytes).map_err(Unreadable::Text)
}

/// Takes the bytes of `file` as text, which TOML has in UTF-8.
fn text(file: &Path, bytes: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        Problem::at(
            file,
            &text,
            valid,
            "this byte is not UTF-8, which TOML must be",
        )
    })
}

/// The name nearest to the one that serde does not know, in its message
/// "unknown field `x`, expected one of `a`, `b`", if it is near enough to be a slip.
fn suggestion(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    // Every second piece between backticks is a name.
    let mut names = message.split('`').skip(1).step_by(2);
    let given = names.next()?;
    names
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|&(distance, name)| distance * 3 <= name.len().max(4))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_characters() {
        let file = Path::new("f.toml");
        let text = "a = 1\nß = é x\n";
        let at = |offset| {
            let problem = Problem::at(file, text, offset, "");
            (problem.line, problem.column)
        };
        assert_eq!(at(0), (1, 1));
        assert_eq!(at(4), (1, 5));
        assert_eq!(at(6), (2, 1));
        assert_eq!(at(text.find('x').unwrap_or(0)), (2, 7));
        // Inside a character, at the end, and beyond it.
        assert_eq!(at(7), (2, 1));
        assert_eq!(at(text.len()), (3, 1));
        assert_eq!(at(1000), (3, 1));
    }

    #[test]
    fn suggests_only_what_is_near() {
        let message = |given: &str| {
            format!("unknown field `{given}`, expected one of `idle`, `login`, `stall`")
        };
        assert_eq!(suggestion(&message("idel")), Some("idle"));
        assert_eq!(suggestion(&message("logins")), Some("login"));
        assert_eq!(suggestion(&message("greeting")), None);
        assert_eq!(suggestion("invalid type `idle` `idle`"), None);
    }

    #[test]
    fn points_at_the_byte_that_is_not_text() {
        let problem = text(Path::new("f"), b"a\nbc\xffd".to_vec());
        let problem = problem.map_err(|problem| (problem.line, problem.column));
        assert_eq!(problem, Err((2, 3)));
    }
}
