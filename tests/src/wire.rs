//! Raw frames in and out of one interface of a namespace (AF_PACKET).

use std::{
    io::{self, Read, Write},
    mem::size_of,
    net::SocketAddr,
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    frame::{Flags, Mac, Segment},
    namespace::NetNs,
    wait,
};

/// The first of [`Wire::fresh_port`]: below the ports that the kernel gives to its own.
const FIRST_PORT: u16 = 5000;
const RECEIVE_BUFFER: usize = 16 << 20;

/// What a host answered to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing came back, and what was sent after it was answered.
    Nothing,
    /// The first segment that came back.
    Segment(Flags),
}

impl Answer {
    /// A connection was offered.
    pub const SYN_ACK: Answer = Answer::Segment(Flags(0x12));

    /// Whether the kernel said that there is nothing there.
    pub fn is_reset(self) -> bool {
        matches!(self, Answer::Segment(flags) if flags.has(Flags::RST))
    }
}

/// A tap on an interface: what it sends leaves by the wire, what arrives is read.
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    from: Mac,
    to: Mac,
    next_port: AtomicU16,
}

impl Wire {
    /// Opens a tap on `interface` in `namespace`; frames go from `from` to `to`.
    pub fn open(namespace: &NetNs, interface: &str, from: Mac, to: Mac) -> Result<Wire> {
        let socket = namespace
            .run(|| packet_socket(interface))?
            .with_context(|| format!("cannot tap {interface} in {}", namespace.name()))?;
        Ok(Wire {
            socket,
            from,
            to,
            next_port: AtomicU16::new(FIRST_PORT),
        })
    }

    /// Puts a segment on the wire.
    pub fn send(&self, segment: &Segment) -> Result<()> {
        self.send_frame(&segment.frame(self.from, self.to)?)
    }

    /// Puts a whole frame on the wire.
    pub fn send_frame(&self, frame: &[u8]) -> Result<()> {
        loop {
            match (&self.socket).write(frame) {
                Ok(written) if written == frame.len() => return Ok(()),
                Ok(written) => bail!("only {written} of {} bytes were sent", frame.len()),
                // The interface's queue is full for the moment (a flood).
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    std::thread::yield_now();
                }
                Err(error) => return Err(error).context("cannot send a frame"),
            }
        }
    }

    /// The hardware addresses that frames go from and to.
    pub fn macs(&self) -> (Mac, Mac) {
        (self.from, self.to)
    }

    /// Waits for the next segment that `wanted` holds for; `None` after `limit`.
    pub fn receive(
        &self,
        limit: Duration,
        mut wanted: impl FnMut(&Segment) -> bool,
    ) -> Result<Option<Segment>> {
        let deadline = Instant::now() + limit;
        let mut frame = vec![0; 1 << 16];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left))?;
            match (&self.socket).read(&mut frame) {
                Ok(len) => {
                    if let Some(segment) = Segment::read(&frame[..len]).filter(|s| wanted(s)) {
                        return Ok(Some(segment));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read frames"),
            }
        }
    }

    /// A source port that this tap has not used before. A repeated one may find what an earlier
    /// probe left half open, which the kernel answers rarely.
    pub fn fresh_port(&self) -> u16 {
        self.next_port.fetch_add(1, Ordering::Relaxed)
    }

    /// The length of the next frame that has already arrived; `None` when there is none.
    pub fn try_receive_len(&self) -> Result<Option<usize>> {
        let mut frame = vec![0; 1 << 16];
        self.socket.set_nonblocking(true)?;
        let read = (&self.socket).read(&mut frame);
        self.socket.set_nonblocking(false)?;
        match read {
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("cannot read frames"),
        }
    }

    /// Sends `segment` and says what the host answers.
    ///
    /// Then it sends a SYN to `canary`, an address and port of the same host that does answer.
    /// A veth pair keeps the order, so silence up to the canary's answer is silence.
    pub fn probe(&self, segment: Segment, canary: SocketAddr) -> Result<Answer> {
        let canary_from = SocketAddr::new(segment.from.ip(), self.fresh_port());
        let canary_syn = Segment::syn(canary_from, canary);
        // What arrived before cannot be the answer, and may fill the buffer.
        while self.try_receive_len()?.is_some() {}
        self.send(&segment)?;
        self.send(&canary_syn)?;
        let mut answer = Answer::Nothing;
        let is_answer = |got: &Segment, sent: &Segment| got.from == sent.to && got.to == sent.from;
        let canary_answer = self.receive(wait::SOON, |got| {
            if is_answer(got, &segment) && answer == Answer::Nothing {
                answer = Answer::Segment(got.flags);
            }
            is_answer(got, &canary_syn)
        })?;
        if canary_answer.is_none() {
            bail!("{canary} does not answer a SYN from {canary_from}: the probe proves nothing");
        }
        Ok(answer)
    }
}

fn packet_socket(interface: &str) -> Result<Socket> {
    let every_protocol = (libc::ETH_P_ALL as u16).to_be();
    // Protocol 0 hears nothing until it is bound, so that no other interface's frame gets in.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    let index = rustix::net::netdevice::name_to_index(&socket, interface)?;
    // SAFETY: sockaddr_ll is plain data, no larger than sockaddr_storage, which is what `init` is
    // given zeroed; the length is that of what was written.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, len| {
            *storage.cast::<libc::sockaddr_ll>() = libc::sockaddr_ll {
                sll_family: libc::AF_PACKET as u16,
                sll_protocol: every_protocol,
                sll_ifindex: index.cast_signed(),
                sll_hatype: 0,
                sll_pkttype: 0,
                sll_halen: 0,
                sll_addr: [0; 8],
            };
            *len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    socket.bind(&address)?;
    // Beyond net.core.rmem_max: other traffic must not crowd out an answer.
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)?;
    Ok(socket)
}
