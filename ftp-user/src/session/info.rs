//! RFC 959 §4.1.3 SYST STAT HELP, RFC 2389 FEAT OPTS, and CLNT, which no RFC has.

use super::list::Facts;
use super::state::{DeflateLevel, Login};
use super::{Answer, Session};
use crate::negotiate::Negotiated;
use crate::proto::command::{Mode, Opts, TypeCode};
use crate::proto::text::Visible;
use crate::proto::{Code, Reply, Verb, help};
use crate::transfer::Monitor;

impl<S> Session<S> {
    /// The format of LIST, as clients read it from here.
    pub(super) fn syst(&self) -> Answer {
        Ok(Reply::new(Code::SystemType, "UNIX Type: L8"))
    }

    pub(super) fn feat(&self) -> Answer {
        Ok(help::features(
            &self.parameters.facts.feature(),
            self.parameters.hash,
            self.tls_features(),
            self.context.config.active.enabled,
        ))
    }

    pub(super) fn opts(&mut self, opts: &Opts) -> Answer {
        match opts {
            Opts::Utf8 => Ok(Reply::new(
                Code::Okay,
                "Names are UTF-8, or whatever bytes they are.",
            )),
            Opts::Mlst(names) => {
                self.parameters.facts = Facts::parse(names);
                let text = format!("MLST OPTS {}", self.parameters.facts.chosen());
                Ok(Reply::new(Code::Okay, text.trim_end().to_owned()))
            }
            Opts::Hash(chosen) => {
                self.parameters.hash = chosen.unwrap_or(self.parameters.hash);
                Ok(Reply::new(Code::Okay, self.parameters.hash.name()))
            }
            Opts::DeflateLevel(level) => {
                self.parameters.deflate_level = DeflateLevel(*level);
                Ok(Reply::new(
                    Code::Okay,
                    format!("MODE Z LEVEL set to {level}."),
                ))
            }
        }
    }

    pub(super) fn help(&self, verb: Option<Verb>) -> Answer {
        Ok(help::help(verb))
    }

    /// What the client says of itself changes nothing, but helps who reads the log.
    pub(super) fn clnt(&self, program: &[u8]) -> Answer {
        let shown = Visible(program.get(..64).unwrap_or(program));
        tracing::debug!(session = self.id, program = %shown, "client");
        Ok(Reply::new(Code::Okay, "Noted."))
    }

    /// STAT without a path: the session, and the transfer that runs.
    pub(super) fn stat(&self, transfer: Option<&Monitor>) -> Answer {
        let user = match &self.login {
            Login::User(user) => &user.account.name[..],
            Login::Nobody | Login::Named(_) => "nobody",
        };
        let data = match (transfer, &self.negotiated) {
            (Some(monitor), _) => format!("A transfer runs: {} bytes so far", monitor.bytes()),
            (None, Negotiated::Nothing) => "No data connection".to_owned(),
            (None, Negotiated::Passive(port)) => format!("Waiting for you on port {}", port.port()),
            (None, Negotiated::Active(peer)) => format!("Will connect to {}", peer.address()),
        };
        let type_code = match self.parameters.type_code {
            TypeCode::Ascii => "ASCII",
            TypeCode::Image => "image",
        };
        let mode = match self.parameters.mode {
            Mode::Stream => "stream",
            Mode::Deflate => "deflate",
        };
        let line = |text: String| text.into_bytes();
        Ok(Reply::new(Code::SystemStatus, "End of status.")
            .with_line(&b"Pinhole:"[..])
            .with_line(line(format!(" Connected from {}", self.ends.client.ip())))
            .with_line(line(format!(" Logged in as {}", Visible(user.as_bytes()))))
            .with_line(line(format!(
                " TYPE: {type_code}, STRU: file, MODE: {mode}"
            )))
            .with_line(line(format!(" {data}"))))
    }
}
