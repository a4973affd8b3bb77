//! Asking for a new password: on a terminal twice and without echo, else the first line of stdin.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::os::fd::AsFd as _;

use anyhow::{Context as _, bail};

use crate::auth::Password;

/// More than any client can send in a command line.
const LONGEST: usize = 1024;

pub(super) fn new_password() -> anyhow::Result<Password> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        // Unbuffered: no copy stays behind in a buffer that nobody wipes.
        let stdin = stdin
            .as_fd()
            .try_clone_to_owned()
            .context("cannot read stdin")?;
        return Ok(Password::for_new_account(first_line(File::from(stdin))?)?);
    }
    let ask = |prompt| -> anyhow::Result<Password> {
        let typed = rpassword::prompt_password(prompt).context("cannot ask for the password")?;
        Ok(Password::for_new_account(typed.into_bytes())?)
    };
    let password = ask("New password: ")?;
    if ask("The same again: ")? != password {
        bail!("the two passwords differ; nothing was changed");
    }
    Ok(password)
}

/// The line without its end. Its buffer never grows, so that no outgrown copy is left in memory.
fn first_line(mut input: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(LONGEST);
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => break,
            Ok(_) if line.len() == LONGEST => {
                bail!("the password cannot be used: it is longer than {LONGEST} bytes");
            }
            Ok(_) => line.extend_from_slice(&byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("cannot read the password from stdin"),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_line_only() {
        let line = |input: &[u8]| first_line(input).unwrap();
        assert_eq!(line(b"secret\nmore\n"), b"secret");
        assert_eq!(line(b"secret\r\n"), b"secret");
        assert_eq!(line(b" no end "), b" no end ");
        assert_eq!(line(b"\xff\xfe\n"), b"\xff\xfe");
        assert_eq!(line(b""), b"");
        assert_eq!(line(&[b'x'; LONGEST]).len(), LONGEST);
        assert!(first_line(&[b'x'; LONGEST + 1][..]).is_err());
    }
}
