//! RFC 959 §4.1.2, transfer parameters: TYPE MODE STRU.

use super::{Answer, Session};
use crate::proto::command::{Mode, TypeCode};
use crate::proto::{Code, Reply};

impl<S> Session<S> {
    pub(super) fn type_code(&mut self, code: TypeCode) -> Answer {
        self.parameters.type_code = code;
        Ok(Reply::new(
            Code::Okay,
            match code {
                TypeCode::Ascii => "Type is ASCII.",
                TypeCode::Image => "Type is image (binary).",
            },
        ))
    }

    /// S, and Z of draft-preston-ftpext-deflate.
    pub(super) fn mode(&mut self, mode: Mode) -> Answer {
        self.parameters.mode = mode;
        Ok(Reply::new(
            Code::Okay,
            match mode {
                Mode::Stream => "Mode is stream.",
                Mode::Deflate => "Mode is deflate.",
            },
        ))
    }

    /// The parser lets only F through.
    pub(super) fn stru(&self) -> Answer {
        Ok(Reply::new(Code::Okay, "Structure is file."))
    }
}
