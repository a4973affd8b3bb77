//! The protocol as text: bytes in, enums out; enums in, bytes out.
//!
//! Pure: no sockets, no clock, no files, no tokio. Everything here can be fuzzed on its own.
//!
//! * [`line`]: control-connection bytes → lines (Telnet, RFC 854; bounded)
//! * [`command`], [`parse`]: a line → a [`Command`] or a typed refusal
//! * [`address`]: the arguments of PORT and EPRT
//! * [`reply`]: a [`Reply`] → bytes
//! * [`help`]: what HELP, FEAT and SITE HELP answer
//! * [`list_options`], [`glob`]: what LIST and NLST take besides a path
//! * [`timestamp`]: times as facts have them
//! * [`ascii`]: TYPE A both ways
//! * [`text`]: names made safe to show

pub mod address;
pub(crate) mod append;
pub mod ascii;
pub mod command;
pub mod glob;
pub mod help;
pub mod line;
pub mod list_options;
pub mod parse;
pub mod reply;
pub mod text;
pub mod timestamp;

pub use command::{Command, Verb};
pub use parse::{CommandError, parse};
pub use reply::{Code, Reply};
