//! Pinhole's user half: an FTP server whose data ports exist only while a session has
//! negotiated them.
//!
//! Who may know whom: `main` → `cli` → `server` → `session` → {`negotiate`, `pinholes`, `transfer`,
//! `digest`, `auth`, `vfs`, `tls`, `generation`, `disk`}; `auth` → `vfs`; `digest` → `transfer` → {`vfs`,
//! `disk`}; `transfer`, `digest` → `turns`; `negotiate` → `pinholes` → the layout shared with the kernel
//! half. `handover`, which `cli` starts, knows `server` and `pinholes`. All may know `proto`, which is
//! pure and knows nobody: no sockets, no clock, no tokio. Only `pinholes` knows of eBPF. `stderr` knows
//! nobody; whoever ends the process flushes it.

pub mod auth;
pub mod channel;
pub mod cli;
pub mod config;
pub mod control;
pub mod digest;
pub mod disk;
pub mod generation;
pub mod handover;
pub mod heap;
pub mod hosts;
pub mod negotiate;
pub mod origin;
pub mod pinholes;
pub mod proto;
pub mod remains;
pub mod server;
pub mod session;
pub mod stderr;
pub mod tls;
pub mod transfer;
pub mod turns;
pub mod vfs;
pub mod xferlog;
