//! What a session holds of a transfer that runs: how far it is, and a way to end it.

use rustix::net::Shutdown;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::Notify;

/// Watches and ends one transfer. Clones are the same monitor.
#[derive(Debug, Clone, Default)]
pub struct Monitor(Arc<State>);

#[derive(Debug, Default)]
struct State {
    bytes: AtomicU64,
    aborted: AtomicBool,
    wake: Notify,
    /// Weak: only the transfer keeps the socket open, so that its end closes it.
    socket: OnceLock<Weak<TcpStream>>,
}

impl Monitor {
    /// Bytes moved over the data connection so far.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Ends the transfer: a step that runs sees its socket shut, one that waits is woken. The
    /// transfer then returns [`super::TransferError::Aborted`].
    pub fn abort(&self) {
        self.end(shut);
    }

    /// The same by a reset, for where no reply can say that bytes are missing: in stream mode the end
    /// of the connection is the end of the file (RFC 959 §3.4.1).
    pub fn cut(&self) {
        self.end(reset);
    }

    fn end(&self, end: fn(&TcpStream)) {
        self.0.aborted.store(true, Ordering::SeqCst);
        if let Some(socket) = self.0.socket.get().and_then(Weak::upgrade) {
            end(&socket);
        }
        self.0.wake.notify_waiters();
    }

    /// Was it aborted?
    pub fn is_aborted(&self) -> bool {
        self.0.aborted.load(Ordering::SeqCst)
    }

    /// Returns once it is aborted.
    pub async fn aborted(&self) {
        let woken = self.0.wake.notified();
        // Looked at after `woken` exists: an abort in between is not missed.
        if !self.is_aborted() {
            woken.await;
        }
    }

    pub(super) fn attach(&self, socket: &Arc<TcpStream>) {
        // A monitor watches one transfer; a second socket would be a mistake of ours and stays
        // unwatched rather than hiding the first.
        let _ = self.0.socket.set(Arc::downgrade(socket));
        if self.is_aborted() {
            shut(socket);
        }
    }

    /// Counts bytes that were moved.
    pub fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

fn shut(socket: &TcpStream) {
    // Fails only where the client has ended the connection already.
    let _ = rustix::net::shutdown(socket, Shutdown::Both);
}

/// Who waits for the socket is woken by this as well (`tcp_disconnect` in net/ipv4/tcp.c). To close it
/// is not possible while another thread works with it.
fn reset(socket: &TcpStream) {
    // As above.
    let _ = rustix::net::connect_unspec(socket);
}
