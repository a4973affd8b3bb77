//! Virtual paths: what a client's path argument means, as text. Nothing here looks at the disk.

use std::fmt;

use super::error::{ErrorKind, VfsError};

/// The kernel's PATH_MAX, less its terminating NUL.
const LONGEST: usize = 4095;

/// An absolute, normalised path inside an account's tree, as bytes: it starts with '/', and has no
/// "//", no "." or "..", no NUL and no '/' at its end (but for the root itself).
///
/// Names are whatever bytes the file system holds. `Display` and `Debug` are for people and logs:
/// lossy, control characters escaped. What goes to a client is [`VirtualPath::as_bytes`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VirtualPath(Vec<u8>);

impl VirtualPath {
    /// "/", the account's root.
    pub fn root() -> VirtualPath {
        VirtualPath(vec![b'/'])
    }

    /// The path that a client in the directory `self` means by `arg`: absolute if it starts with
    /// '/', else relative. ".." goes up in the text, whatever links led here, and stays at the
    /// root.
    pub fn join(&self, arg: &[u8]) -> Result<VirtualPath, VfsError> {
        if arg.contains(&0) {
            return Err(VfsError::BadName {
                problem: "it has a NUL byte in it",
            });
        }
        let mut path = if arg.first() == Some(&b'/') {
            VirtualPath::root()
        } else {
            self.clone()
        };
        for name in arg.split(|&byte| byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => path.pop(),
                _ => path.push(name),
            }
        }
        if path.0.len() > LONGEST {
            return Err(VfsError::BadName {
                problem: "it is longer than 4095 bytes",
            });
        }
        Ok(path)
    }

    /// The directory that holds this path; the root is its own parent.
    #[must_use]
    pub fn parent(&self) -> VirtualPath {
        let mut parent = self.clone();
        parent.pop();
        parent
    }

    /// The last name, or `None` for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        let start = self.last_slash() + 1;
        self.0.get(start..).filter(|name| !name.is_empty())
    }

    /// The whole path, byte for byte.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as the kernel wants it beneath the root's descriptor: relative, "." for the root.
    pub(super) fn relative(&self) -> &[u8] {
        match self.0.get(1..) {
            None | Some([]) => b".",
            Some(relative) => relative,
        }
    }

    /// `self` with the entry `name` of a directory listing, which is one name by construction.
    pub(super) fn child(&self, name: &[u8]) -> VirtualPath {
        let mut child = self.clone();
        child.push(name);
        child
    }

    /// The error's words for an operation that the root itself cannot undergo.
    pub(super) fn last_name(&self, action: &'static str) -> Result<&[u8], VfsError> {
        self.file_name()
            .ok_or_else(|| VfsError::refused(action, self, ErrorKind::Denied))
    }

    fn last_slash(&self) -> usize {
        self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0)
    }

    fn push(&mut self, name: &[u8]) {
        if self.0.last() != Some(&b'/') {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name);
    }

    fn pop(&mut self) {
        let slash = self.last_slash();
        self.0.truncate(slash.max(1));
    }
}

impl fmt::Display for VirtualPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name may hold line ends and terminal escapes; a log must not obey them.
        for character in String::from_utf8_lossy(&self.0).chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for VirtualPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(base: &[u8], arg: &[u8]) -> Vec<u8> {
        let base = VirtualPath::root().join(base).unwrap();
        base.join(arg).unwrap().as_bytes().to_vec()
    }

    #[test]
    fn joins_as_a_shell_would() {
        let cases: &[(&[u8], &[u8], &[u8])] = &[
            (b"/", b"", b"/"),
            (b"/", b"a", b"/a"),
            (b"/a", b"b", b"/a/b"),
            (b"/a", b"/b", b"/b"),
            (b"/a/b", b"..", b"/a"),
            (b"/a/b", b"../c/./d//e/", b"/a/c/d/e"),
            (b"/a", b".", b"/a"),
            (b"/a", b"...", b"/a/..."),
            (b"/a", b"..b", b"/a/..b"),
            (b"/a", b"\xff\xfe", b"/a/\xff\xfe"),
            (b"/a", b" b ", b"/a/ b "),
        ];
        for (base, arg, expected) in cases {
            assert_eq!(
                joined(base, arg).as_slice(),
                *expected,
                "{base:?} + {arg:?}"
            );
        }
    }

    #[test]
    fn dotdot_beyond_the_root_stays_at_the_root() {
        assert_eq!(joined(b"/", b".."), b"/");
        assert_eq!(joined(b"/a", b"../../../.."), b"/");
        assert_eq!(joined(b"/a", b"/../../etc/passwd"), b"/etc/passwd");
    }

    #[test]
    fn nul_and_overlong_are_bad_names() {
        let root = VirtualPath::root();
        assert_eq!(root.join(b"a\0b").unwrap_err().kind(), ErrorKind::BadName);
        assert!(root.join(&[b'a'; 4094]).is_ok());
        let long = root.join(&[b'a'; 4095]).unwrap_err();
        assert_eq!(long.kind(), ErrorKind::BadName);
        // Long text that normalises to something short is fine.
        assert_eq!(joined(b"/", &b"x/../".repeat(2000)), b"/");
    }

    #[test]
    fn takes_paths_apart() {
        let path = VirtualPath::root().join(b"/a/b").unwrap();
        assert_eq!(path.file_name(), Some(b"b".as_slice()));
        assert_eq!(path.parent().as_bytes(), b"/a");
        assert_eq!(path.parent().parent().as_bytes(), b"/");
        assert_eq!(path.parent().parent().parent().as_bytes(), b"/");
        assert_eq!(VirtualPath::root().file_name(), None);
        assert_eq!(path.relative(), b"a/b");
        assert_eq!(VirtualPath::root().relative(), b".");
    }

    #[test]
    fn display_cannot_forge_a_log_line() {
        let path = VirtualPath::root()
            .join(b"a\r\nINFO ok\x1b[2J\xff")
            .unwrap();
        let shown = path.to_string();
        assert_eq!(shown, "/a\\r\\nINFO ok\\u{1b}[2J\u{fffd}");
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_normal_path_or_an_error(
            base in proptest::collection::vec(any::<u8>(), 0..64),
            arg in "[./ab\\PC]{0,64}",
        ) {
            let Ok(base) = VirtualPath::root().join(&base) else { return Ok(()) };
            let path = base.join(arg.as_bytes()).unwrap();
            let bytes = path.as_bytes();
            prop_assert_eq!(bytes[0], b'/');
            prop_assert!(!bytes.contains(&0));
            if bytes.len() > 1 {
                for name in bytes[1..].split(|&byte| byte == b'/') {
                    prop_assert!(!matches!(name, b"" | b"." | b".."));
                }
            }
            // Normal paths are a fixed point.
            prop_assert_eq!(&base.join(bytes).unwrap(), &path);
        }
    }
}
