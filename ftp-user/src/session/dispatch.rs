//! A line → the command family that answers it.

use super::state::Login;
use super::told::Whose;
use super::{Session, policy};
use crate::control::ControlError;
use crate::proto::address::AddressError;
use crate::proto::command::Mechanism;
use crate::proto::parse::CommandError;
use crate::proto::text::Visible;
use crate::proto::{Code, Command, Reply, parse};
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes of a refused command that are logged.
const MOST_TOLD: usize = 256;

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<S> {
    /// Answers one line. A transfer sends its earlier replies itself and returns its last.
    pub(super) async fn answer(&mut self, line: &[u8]) -> Result<Reply, ControlError> {
        let command = match parse(line) {
            Ok(command) => command,
            Err(error) => {
                // The verb only: a mistyped PASS is nobody's business.
                let verb = line.split(|&b| b == b' ').next().unwrap_or_default();
                let verb = Visible(verb.get(..8).unwrap_or(verb));
                tracing::debug!(session = self.id, %verb, %error, "not a command of ours");
                return Ok(match error {
                    CommandError::Unknown => self.strange(error.into()),
                    CommandError::Address(AddressError::UnknownFamily) => self.other_family(),
                    _ => error.into(),
                });
            }
        };
        if let Err(refusal) = policy::check(&command, &self.login) {
            self.pending = super::Pending::Nothing;
            return Ok(refusal);
        }
        if !policy::outlives(&self.pending, &command) {
            self.pending = super::Pending::Nothing;
        }
        let answer = match command {
            Command::Quit => Ok(Reply::new(Code::Closing, "Goodbye.")),
            Command::Pass(password) => self.pass(password).await,
            Command::Host(name) => self.host(&name),
            Command::User(name) => self.user_name(name),
            Command::Acct => self.acct(),
            Command::Auth(Mechanism::Tls) => self.auth_tls(),
            Command::Pbsz => self.pbsz(),
            Command::Prot(protection) => self.prot(protection),
            Command::Ccc => self.ccc(),
            Command::Rein => self.rein(),
            Command::Syst => self.syst(),
            Command::Feat => self.feat(),
            Command::Opts(opts) => self.opts(&opts),
            Command::Help(verb) => self.help(verb),
            Command::Clnt(program) => self.clnt(&program),
            Command::Noop => Ok(Reply::new(Code::Okay, "Okay.")),
            Command::Site(site) => self.site(site).await,
            Command::Pwd => self.pwd(),
            Command::Cwd(path) => self.cwd(&path).await,
            Command::Cdup => self.cdup().await,
            Command::Mkd(path) => self.mkd(&path).await,
            Command::Rmd(path) => self.rmd(&path).await,
            Command::Type(code) => self.type_code(code),
            Command::Mode(mode) => self.mode(mode),
            Command::Stru => self.stru(),
            Command::Pasv => self.pasv().await,
            Command::Epsv(argument) => self.epsv(argument).await,
            Command::Port(address) => self.active(address.into()),
            Command::Eprt(address) => self.active(address),
            Command::Rest(offset) => self.rest(offset),
            Command::Rang(range) => self.rang(range),
            Command::Allo(bytes) => self.allo(bytes).await,
            Command::Size(path) => self.size(&path).await,
            Command::Mdtm(path) => self.mdtm(&path).await,
            Command::Mfmt(time, path) => self.mfmt(time, &path).await,
            Command::Hash(path) => self.hash(path).await?,
            Command::Digest(algorithm, reading, longer) => {
                self.digest(algorithm, reading, longer).await?
            }
            Command::Avbl(path) => self.avbl(path.as_deref()).await,
            Command::Comb(target, parts) => self.comb(&target, &parts).await?,
            Command::Dele(path) => self.dele(&path).await,
            Command::Rnfr(path) => self.rnfr(&path).await,
            Command::Rnto(path) => self.rnto(&path).await,
            Command::Mlst(path) => self.mlst(path.as_deref()).await,
            Command::Stat => self.stat(None),
            Command::StatPath(request) => self.stat_path(request).await,
            Command::Abor => self.abor(),
            Command::List(request) => self.list(request).await?,
            Command::Nlst(request) => self.nlst(request).await?,
            Command::Mlsd(path) => self.mlsd(path.as_deref()).await?,
            Command::Retr(path) => self.retr(&path).await?,
            Command::Stor(path) => self.stor(&path).await?,
            Command::Appe(path) => self.appe(&path).await?,
            Command::Stou => self.stou().await?,
        };
        if let (Err(refusal), Login::User(_)) = (&answer, &self.login)
            && tracing::enabled!(tracing::Level::INFO)
            && self.logs_refusal()
        {
            let Whose { session, client } = self.whose();
            let user = self.who();
            // A string, so that the log quotes it.
            let command = String::from_utf8_lossy(tellable(line));
            tracing::info!(session, %client, user, command = &*command, reply = refusal.number(),
                "refused");
        }
        Ok(answer.unwrap_or_else(|refusal| refusal))
    }
}

/// What of a line may be logged: no more than its start, and of PASS nothing behind the verb.
fn tellable(line: &[u8]) -> &[u8] {
    let end = match line.get(..4) {
        Some(verb) if verb.eq_ignore_ascii_case(b"PASS") => 4,
        Some(_) | None => line.len().min(MOST_TOLD),
    };
    line.get(..end).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::tellable;

    #[test]
    fn passwords_are_not_told() {
        assert_eq!(tellable(b"pAsS secret"), b"pAsS");
        assert_eq!(tellable(b"PASSWORD"), b"PASS");
        assert_eq!(tellable(b"PWD"), b"PWD");
        assert_eq!(tellable(&[b'a'; 1000]).len(), 256);
    }
}
