//! Messages between two processes of the daemon, over a pair of sockets: JSON, so that another
//! version can read what it knows, each with at most one descriptor. What they say is others'.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{Interest, unix::AsyncFd};

/// The longest message.
pub const LONGEST: usize = 64 * 1024;

/// One end. Messages come whole and in order.
#[derive(Debug)]
pub struct Channel {
    socket: AsyncFd<OwnedFd>,
}

impl Channel {
    /// Two ends, closed on exec.
    pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            flags,
            None,
        )?)
    }

    /// Takes an end. In a runtime.
    pub fn new(socket: OwnedFd) -> io::Result<Channel> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        // SAFETY: an OwnedFd owns one open descriptor for as long as it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, interest) }?;
        Ok(Channel { socket })
    }

    /// Sends a message of at most [`LONGEST`] bytes; a copy of the descriptor goes with it.
    pub async fn send<T: Serialize>(
        &self,
        message: &T,
        with: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        if bytes.len() > LONGEST {
            return Err(Errno::MSGSIZE.into());
        }
        loop {
            let mut ready = self.socket.writable().await?;
            let sent = ready.try_io(|socket| send(socket.get_ref(), &bytes, with));
            if let Ok(sent) = sent {
                return sent;
            }
        }
    }

    /// The next message and its descriptor; `None` when the other end is closed. Cancel-safe.
    pub async fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Option<OwnedFd>)>> {
        loop {
            let mut ready = self.socket.readable().await?;
            match ready.try_io(|socket| receive(socket.get_ref())) {
                Ok(Ok(Some((bytes, with)))) => {
                    return Ok(Some((serde_json::from_slice(&bytes)?, with)));
                }
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => return Err(error),
                Err(_not_ready) => {}
            }
        }
    }
}

fn send(socket: &OwnedFd, bytes: &[u8], with: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(descriptor) = &with {
        let rights = SendAncillaryMessage::ScmRights(std::slice::from_ref(descriptor));
        if !control.push(rights) {
            return Err(Errno::NOBUFS.into());
        }
    }
    let flags = SendFlags::NOSIGNAL;
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)?;
    Ok(())
}

fn receive(socket: &OwnedFd) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let received = match recvmsg(socket, &mut slices, &mut control, flags) {
        Ok(received) => received,
        // unix(7): closed with messages that it had not read.
        Err(Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut with = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            with = rights.last();
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    if received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(Errno::MSGSIZE.into());
    }
    bytes.truncate(received.bytes);
    Ok(Some((bytes, with)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::fd::AsFd as _;

    #[tokio::test]
    async fn messages_come_whole_with_their_descriptors_until_the_other_end_closes() {
        let (here, there) = Channel::pair().unwrap();
        let (here, there) = (Channel::new(here).unwrap(), Channel::new(there).unwrap());
        let (reader, writer) = io::pipe().unwrap();
        here.send(&vec!["one"; 1000], None).await.unwrap();
        here.send(&"two", Some(reader.as_fd())).await.unwrap();
        drop((reader, writer));
        let (first, none): (Vec<String>, _) = there.receive().await.unwrap().unwrap();
        assert_eq!((first.len(), none.is_none()), (1000, true));
        let (second, pipe): (String, _) = there.receive().await.unwrap().unwrap();
        assert_eq!(second, "two");
        // Its only other end has been closed.
        let mut rest = Vec::new();
        std::fs::File::from(pipe.unwrap())
            .read_to_end(&mut rest)
            .unwrap();
        let long = "x".repeat(LONGEST);
        assert!(here.send(&long, None).await.is_err());
        there.send(&"unread", None).await.unwrap();
        drop(here);
        assert!(there.receive::<String>().await.unwrap().is_none());
    }
}
