//! What clients send with LIST, NLST and STAT before the path: options of `ls`, which no RFC has.

/// An argument of LIST, NLST or STAT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// What stands before the path.
    pub options: ListOptions,
    /// A path, or a pattern in its last name.
    pub path: Option<Vec<u8>>,
}

/// The options that change something. Others are taken and mean nothing: clients send what they know
/// from `ls`, and an error would leave them without a listing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// `-a`, `-A`: names with a leading dot as well. "." and ".." are never among them.
    pub all: bool,
    /// `-d`: a directory itself, not what is in it.
    pub itself: bool,
    /// `-l` makes NLST long, `-1` makes LIST short; the last one counts.
    pub width: Option<Width>,
    /// `-t` and `-S`; the last one counts.
    pub sort: Option<Sort>,
    /// `-r`
    pub reverse: bool,
    /// `-R`: the directories in it as well, and those in them.
    pub recursive: bool,
}

/// How much a line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// As LIST.
    Long,
    /// As NLST.
    Short,
}

/// What a listing is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Newest first.
    Time,
    /// Largest first.
    Size,
}

impl ListRequest {
    /// Takes options off the front. A file whose name begins with a "-" is `./-name`.
    pub fn parse(argument: &[u8]) -> ListRequest {
        let mut options = ListOptions::default();
        let mut rest = argument;
        while let Some((b'-', behind)) = rest.split_first() {
            let end = behind.iter().position(|&byte| byte == b' ');
            let (word, behind) = behind.split_at(end.unwrap_or(behind.len()));
            options.take(word);
            rest = behind.get(1..).unwrap_or_default();
        }
        ListRequest {
            options,
            path: (!rest.is_empty()).then(|| rest.to_vec()),
        }
    }
}

impl ListOptions {
    fn take(&mut self, word: &[u8]) {
        for letter in word {
            match letter {
                b'a' | b'A' => self.all = true,
                b'd' => self.itself = true,
                b'l' => self.width = Some(Width::Long),
                b'1' => self.width = Some(Width::Short),
                b't' => self.sort = Some(Sort::Time),
                b'S' => self.sort = Some(Sort::Size),
                b'r' => self.reverse = true,
                b'R' => self.recursive = true,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_before_the_path() {
        let parse = |text: &str| {
            let request = ListRequest::parse(text.as_bytes());
            let path = request
                .path
                .map(|path| String::from_utf8_lossy(&path).into_owned());
            (request.options, path)
        };
        let none = ListOptions::default();
        assert_eq!(parse(""), (none, None));
        assert_eq!(parse("a -l"), (none, Some("a -l".into())));
        assert_eq!(parse("-"), (none, None));
        assert_eq!(parse("./-l"), (none, Some("./-l".into())));
        assert_eq!(parse("-F  x"), (none, Some(" x".into())));
        let some = ListOptions {
            all: true,
            itself: true,
            width: Some(Width::Short),
            sort: Some(Sort::Size),
            reverse: true,
            recursive: true,
        };
        assert_eq!(parse("-latRr -S1d dir"), (some, Some("dir".into())));
        let all = ListOptions { all: true, ..none };
        assert_eq!(parse("-A"), (all, None));
    }
}
