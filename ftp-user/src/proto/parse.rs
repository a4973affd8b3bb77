//! A command line → a [`Command`], or a refusal that knows its reply code.

mod argument;
mod digest;
mod error;
mod file;
mod options;
mod parameters;
mod security;
mod site;
mod words;

use super::address::{Family, parse_eprt, parse_port};
use super::command::{Algorithm, Command, EpsvArgument, Secret, Verb};
use super::list_options::ListRequest;
use argument::{Argument, number};
pub use error::CommandError;

/// Verbs of RFC 959, 2228, 1639 and 2640 that exist but are not served: 502, not 500.
const NOT_SERVED: &[&[u8]] = &[
    b"SMNT", b"ADAT", b"MIC", b"CONF", b"ENC", b"LPRT", b"LPSV", b"LANG",
];

/// Reads one line, its end already taken off.
pub fn parse(line: &[u8]) -> Result<Command, CommandError> {
    let (name, argument) = match line.iter().position(|&b| b == b' ') {
        // One space separates (RFC 959 §5.3.1); every byte after it is the argument.
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &line[line.len()..]),
    };
    let Some(verb) = Verb::parse(name) else {
        let known = NOT_SERVED
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other));
        return Err(if known {
            CommandError::NotImplemented
        } else {
            CommandError::Unknown
        });
    };
    if argument.contains(&b'\n') && !verb.takes_names() {
        return Err(CommandError::Nul);
    }
    let argument = Argument {
        verb,
        bytes: argument,
    };
    Ok(match verb {
        Verb::Host => Command::Host(host(&argument)?),
        Verb::User => Command::User(argument.required()?),
        // An empty password is a password.
        Verb::Pass => Command::Pass(Secret::new(argument.bytes.to_vec())),
        Verb::Acct => Command::Acct,
        Verb::Auth => Command::Auth(security::mechanism(&argument)?),
        Verb::Pbsz => security::pbsz(&argument)?,
        Verb::Prot => Command::Prot(security::protection(&argument)?),
        Verb::Ccc => argument.none(Command::Ccc)?,
        Verb::Quit => argument.none(Command::Quit)?,
        Verb::Rein => argument.none(Command::Rein)?,
        Verb::Syst => argument.none(Command::Syst)?,
        Verb::Feat => argument.none(Command::Feat)?,
        Verb::Opts => Command::Opts(options::opts(&argument)?),
        Verb::Help => match argument.word() {
            b"" => Command::Help(None),
            name => Command::Help(Some(
                Verb::parse(name).ok_or(CommandError::Malformed(verb))?,
            )),
        },
        Verb::Clnt => Command::Clnt(argument.required()?),
        // RFC 959 gives NOOP none, but clients send one to keep the connection alive.
        Verb::Noop => Command::Noop,
        Verb::Pwd => argument.none(Command::Pwd)?,
        Verb::Cwd => Command::Cwd(argument.required()?),
        Verb::Cdup => argument.none(Command::Cdup)?,
        Verb::Type => Command::Type(parameters::type_code(&argument)?),
        Verb::Mode => Command::Mode(parameters::mode(&argument)?),
        Verb::Stru => argument.one_of(b"F", b"RP", Command::Stru)?,
        Verb::Pasv => argument.none(Command::Pasv)?,
        Verb::Epsv => Command::Epsv(match argument.word() {
            b"" => EpsvArgument::Any,
            all if all.eq_ignore_ascii_case(b"ALL") => EpsvArgument::All,
            number => EpsvArgument::Family(Family::parse(number)?),
        }),
        Verb::Port => Command::Port(parse_port(argument.required_word()?)?),
        Verb::Eprt => Command::Eprt(parse_eprt(argument.required_word()?)?),
        Verb::List => Command::List(ListRequest::parse(argument.bytes)),
        Verb::Nlst => Command::Nlst(ListRequest::parse(argument.bytes)),
        Verb::Mlsd => Command::Mlsd(argument.optional()),
        Verb::Mlst => Command::Mlst(argument.optional()),
        Verb::Stat if argument.bytes.is_empty() => Command::Stat,
        Verb::Stat => Command::StatPath(ListRequest::parse(argument.bytes)),
        Verb::Retr => Command::Retr(argument.required()?),
        Verb::Stor => Command::Stor(argument.required()?),
        Verb::Appe => Command::Appe(argument.required()?),
        // Some clients name a file; RFC 959 leaves the name to the server.
        Verb::Stou => Command::Stou,
        Verb::Rest => Command::Rest(number(argument.verb, argument.required_word()?)?),
        Verb::Size => Command::Size(argument.required()?),
        Verb::Mdtm => Command::Mdtm(argument.required()?),
        Verb::Mfmt => file::mfmt(&argument)?,
        Verb::Rang => Command::Rang(digest::rang(&argument)?),
        Verb::Hash => Command::Hash(argument.required()?),
        Verb::Xcrc => digest::digest(&argument, Algorithm::Crc32)?,
        Verb::Xmd5 => digest::digest(&argument, Algorithm::Md5)?,
        Verb::Xsha1 => digest::digest(&argument, Algorithm::Sha1)?,
        Verb::Xsha256 => digest::digest(&argument, Algorithm::Sha256)?,
        Verb::Xsha512 => digest::digest(&argument, Algorithm::Sha512)?,
        Verb::Avbl => Command::Avbl(argument.optional()),
        Verb::Comb => file::comb(&argument)?,
        Verb::Dele => Command::Dele(argument.required()?),
        Verb::Mkd => Command::Mkd(argument.required()?),
        Verb::Rmd => Command::Rmd(argument.required()?),
        Verb::Rnfr => Command::Rnfr(argument.required()?),
        Verb::Rnto => Command::Rnto(argument.required()?),
        Verb::Abor => argument.none(Command::Abor)?,
        Verb::Allo => parameters::allo(&argument)?,
        Verb::Site => Command::Site(site::site(&argument)?),
    })
}

/// A name or an address, as it stands in an URL: IPv6 in brackets (RFC 7151 §3.1). A port is not part
/// of it.
fn host(argument: &Argument<'_>) -> Result<Vec<u8>, CommandError> {
    let host = argument.required_word()?;
    let good = match host {
        [b'[', inside @ .., b']'] => inside
            .iter()
            .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')),
        name => name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')),
    };
    good.then(|| host.to_vec()).ok_or(CommandError::BadHost)
}

#[cfg(test)]
mod tests;
