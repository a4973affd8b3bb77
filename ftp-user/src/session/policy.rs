//! Who may use which command: one match, no default.

use super::outcome;
use super::state::{Login, Pending};
use crate::auth::Rights;
use crate::proto::command::Site;
use crate::proto::{Command, Reply};

/// What a command asks of its user.
enum Need {
    /// Nothing: it works before the login.
    Nothing,
    /// A login.
    Login,
    /// A login with a right.
    Right(fn(&Rights) -> bool),
}

fn need(command: &Command) -> Need {
    match command {
        Command::Host(_)
        | Command::User(_)
        | Command::Pass(_)
        | Command::Acct
        | Command::Auth(_)
        | Command::Pbsz
        | Command::Prot(_)
        | Command::Quit
        | Command::Rein
        | Command::Syst
        | Command::Feat
        | Command::Opts(_)
        | Command::Help(_)
        | Command::Clnt(_)
        | Command::Noop => Need::Nothing,
        Command::Pwd
        | Command::Cwd(_)
        | Command::Cdup
        | Command::Type(_)
        | Command::Mode(_)
        | Command::Stru
        | Command::Pasv
        | Command::Epsv(_)
        | Command::Port(_)
        | Command::Eprt(_)
        | Command::Rest(_)
        | Command::Rang(_)
        | Command::Avbl(_)
        | Command::Abor
        | Command::Allo(_)
        | Command::Site(Site::Help | Site::Quota)
        | Command::Ccc
        | Command::Stat => Need::Login,
        Command::List(_)
        | Command::Nlst(_)
        | Command::Mlsd(_)
        | Command::Mlst(_)
        | Command::StatPath(_) => Need::Right(|rights| rights.list),
        Command::Retr(_) | Command::Hash(_) | Command::Digest(..) => {
            Need::Right(|rights| rights.read)
        }
        // One or the other tells as much.
        Command::Size(_) | Command::Mdtm(_) => Need::Right(|rights| rights.list || rights.read),
        Command::Stor(_)
        | Command::Stou
        | Command::Mfmt(..)
        | Command::Site(Site::Utime { .. } | Site::Symlink { .. }) => {
            Need::Right(|rights| rights.write)
        }
        Command::Appe(_) => Need::Right(|rights| rights.append),
        Command::Comb(..) => Need::Right(|rights| rights.read && rights.append && rights.delete),
        Command::Site(Site::Chmod(..)) => Need::Right(|rights| rights.chmod),
        Command::Dele(_) | Command::Rmd(_) => Need::Right(|rights| rights.delete),
        Command::Mkd(_) => Need::Right(|rights| rights.mkdir),
        Command::Rnfr(_) | Command::Rnto(_) => Need::Right(|rights| rights.rename),
    }
}

/// May this command go on?
pub(super) fn check(command: &Command, login: &Login) -> Result<(), Reply> {
    match (need(command), login) {
        (Need::Nothing, _) | (Need::Login, Login::User(_)) => Ok(()),
        (Need::Right(has), Login::User(user)) => {
            if has(&user.account.rights) {
                Ok(())
            } else {
                Err(outcome::denied())
            }
        }
        (Need::Login | Need::Right(_), Login::Nobody | Login::Named(_)) => {
            Err(outcome::not_logged_in())
        }
    }
}

/// Does what is pending outlive this command? RNTO has to follow RNFR at once (RFC 959 §4.1.3).
/// REST and RANG hold until a command takes them: clients set up the data connection after them, and some
/// look around. A 350 that is forgotten in silence is a file that begins at its first byte, put behind
/// what the client has of it already.
pub(super) fn outlives(pending: &Pending, command: &Command) -> bool {
    match pending {
        Pending::Nothing => true,
        Pending::Rename(_) => matches!(command, Command::Rnto(_) | Command::Noop),
        Pending::Restart(_) | Pending::Range(..) => match command {
            Command::Pasv
            | Command::Epsv(_)
            | Command::Port(_)
            | Command::Eprt(_)
            | Command::Type(_)
            | Command::Mode(_)
            | Command::Stru
            | Command::Noop
            | Command::Size(_)
            | Command::Mdtm(_)
            | Command::Stat
            | Command::Allo(_)
            | Command::Pbsz
            | Command::Prot(_)
            | Command::Syst
            | Command::Feat
            | Command::Opts(_)
            | Command::Help(_)
            | Command::Clnt(_)
            | Command::Pwd
            | Command::Cwd(_)
            | Command::Cdup
            | Command::Mlst(_)
            | Command::StatPath(_)
            | Command::Avbl(_)
            | Command::Retr(_)
            | Command::Stor(_)
            | Command::Appe(_) => true,
            Command::Hash(_) => matches!(pending, Pending::Range(..)),
            Command::Host(_)
            | Command::User(_)
            | Command::Pass(_)
            | Command::Acct
            | Command::Auth(_)
            | Command::Ccc
            | Command::Quit
            | Command::Rein
            | Command::List(_)
            | Command::Nlst(_)
            | Command::Mlsd(_)
            | Command::Stou
            | Command::Rest(_)
            | Command::Rang(_)
            | Command::Mfmt(..)
            | Command::Digest(..)
            | Command::Comb(..)
            | Command::Dele(_)
            | Command::Mkd(_)
            | Command::Rmd(_)
            | Command::Rnfr(_)
            | Command::Rnto(_)
            | Command::Abor
            | Command::Site(_) => false,
        },
    }
}
