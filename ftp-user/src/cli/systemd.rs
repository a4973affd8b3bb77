//! What the service manager hears of us, and the sockets it gives us: sd_notify(3) and
//! sd_listen_fds(3). Without a service manager nothing of it happens.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use listenfd::ListenFd;
use sd_notify::NotifyState;

use super::SettingsError;
use crate::server::{Listener, Start};

/// Everything is in place. The status stands in place of what a process before has said.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// What `systemctl status` shows from now on.
pub(super) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// A reload begins (Type=notify-reload has the manager wait for [`ready`]).
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no monotonic clock for the service manager"),
    }
}

/// Another process is the service from now on. Whatever this one does next is not the service
/// manager's any more, and it is told nothing of it.
pub(super) fn hand_over(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
    HANDED_OVER.store(true, Ordering::Relaxed);
}

static HANDED_OVER: AtomicBool = AtomicBool::new(false);

/// The end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells the watchdog in time, for as long as tasks are run at all. Ends at once where there is
/// none.
pub(super) async fn feed_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    // sd_watchdog_enabled(3): half of it.
    let mut ticks = tokio::time::interval(limit / 2);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if HANDED_OVER.load(Ordering::Relaxed) {
        return;
    }
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager (NOTIFY_SOCKET)");
    }
}

/// The sockets that systemd (or whoever sets LISTEN_FDS) listens on for us; none without it. To be
/// called once. Those named `implicit` (FileDescriptorName=) start with TLS.
pub(super) fn sockets() -> anyhow::Result<Vec<Listener>> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut given = ListenFd::from_env();
    let mut listeners = Vec::with_capacity(given.len());
    for index in 0..given.len() {
        let name = names.split(':').nth(index).unwrap_or_default();
        let start = match name {
            "implicit" => Start::Tls,
            // systemd's name for a socket without one is its unit's.
            "" | "unknown" | "control" => Start::Clear,
            unit if unit.ends_with(".socket") => Start::Clear,
            other => bail!(SettingsError(format!(
                "socket activation: a socket is named \"{other}\"; FileDescriptorName= has to be \
                 \"control\" or \"implicit\""
            ))),
        };
        let socket: TcpListener = given
            .take_tcp_listener(index)
            .with_context(|| format!("socket activation: socket {index} ({name})"))?
            .with_context(|| format!("socket activation: socket {index} is gone"))?;
        let listener = Listener::given(socket, start)
            .with_context(|| format!("socket activation: socket {index} ({name})"))?;
        listeners.push(listener);
    }
    // In the order of Config::tls_policy.
    listeners.sort_by_key(|listener| listener.start == Start::Tls);
    Ok(listeners)
}
