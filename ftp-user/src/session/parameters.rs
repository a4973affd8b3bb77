//! RFC 959 §4.1.2, transfer parameters: TYPE MODE STRU.

use super::{Answer, Session};
use crate::proto::command::TypeCode;
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

    /// The parser lets only S through.
    pub(super) fn mode(&self) -> Answer {
        Ok(Reply::new(Code::Okay, "Mode is stream."))
    }

    /// The parser lets only F through.
    pub(super) fn stru(&self) -> Answer {
        Ok(Reply::new(Code::Okay, "Structure is file."))
    }
}
