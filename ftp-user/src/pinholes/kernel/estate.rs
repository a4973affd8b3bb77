//! What one process of the daemon leaves to the next: the pinholes that wait, the locks' links and
//! the sockets that data connections arrive at; and how it goes from one to the other.

use std::{
    io,
    net::{IpAddr, TcpListener},
    os::fd::{AsFd as _, OwnedFd},
};

use serde::{Deserialize, Serialize};

use super::attach::Mode;
use crate::channel::Channel;

/// Rows in one message: far below [`crate::channel::LONGEST`].
const ROWS: usize = 100;

/// A pinhole that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    /// Names it between the two processes.
    pub(super) id: u64,
    /// Masked.
    pub(super) client: IpAddr,
    pub(super) server: IpAddr,
    pub(super) port: u16,
    pub(super) session: u64,
    /// `CLOCK_MONOTONIC`, which is the same for both.
    pub(super) deadline_ns: u64,
    /// As [`ftp_ebpf::abi::Claim`] has it.
    pub(super) claim: u64,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Estate {
    pub(super) rows: Vec<Row>,
    /// The interface's number, how its lock is attached, and the link.
    pub(super) locks: Vec<(u32, Mode, OwnedFd)>,
    /// Those for IPv4 and, if there is one, for IPv6.
    pub(super) acceptors: Vec<TcpListener>,
}

/// One message of it.
#[derive(Debug, Serialize, Deserialize)]
enum Item {
    Rows(Vec<Row>),
    /// With its link.
    Lock {
        index: u32,
        mode: Mode,
    },
    /// With its socket.
    Acceptor,
    /// That was all.
    End,
}

/// Tells all of it.
pub(super) async fn send(
    channel: &Channel,
    rows: &[Row],
    locks: &[(u32, Mode, OwnedFd)],
    acceptors: impl IntoIterator<Item = &TcpListener>,
) -> io::Result<()> {
    for rows in rows.chunks(ROWS) {
        channel.send(&Item::Rows(rows.to_vec()), None).await?;
    }
    for (index, mode, link) in locks {
        let item = Item::Lock {
            index: *index,
            mode: *mode,
        };
        channel.send(&item, Some(link.as_fd())).await?;
    }
    for acceptor in acceptors {
        channel
            .send(&Item::Acceptor, Some(acceptor.as_fd()))
            .await?;
    }
    channel.send(&Item::End, None).await
}

/// Tells that there is nothing.
pub(in crate::pinholes) async fn leave_nothing(channel: &Channel) -> io::Result<()> {
    send(channel, &[], &[], []).await
}

impl Estate {
    /// Hears all of it.
    ///
    /// # Errors
    ///
    /// The other process has ended, or says what is not understood.
    pub async fn receive(channel: &Channel) -> io::Result<Estate> {
        let mut estate = Estate::default();
        let incomplete = || io::Error::other("an item came without its descriptor");
        loop {
            let (item, with) = channel
                .receive()
                .await?
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            match item {
                Item::Rows(rows) => estate.rows.extend(rows),
                Item::Lock { index, mode } => {
                    let link = with.ok_or_else(incomplete)?;
                    estate.locks.push((index, mode, link));
                }
                Item::Acceptor => {
                    let socket = with.ok_or_else(incomplete)?;
                    estate.acceptors.push(socket.into());
                }
                Item::End => return Ok(estate),
            }
        }
    }
}
