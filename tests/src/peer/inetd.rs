//! Who accepts control connections for servers that do not: an inetd of ours, and systemd's.

use std::{
    io,
    net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{Group, Plan};
use crate::namespace::NetNs;

/// Waits for control connections and starts a process for each. Dropping it ends all of them.
#[derive(Debug)]
pub(super) struct Inetd {
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Inetd {
    pub(super) fn start(namespace: &NetNs, port: u16, plan: Plan) -> Result<Inetd> {
        let listener = namespace
            .run(|| listen(port))?
            .with_context(|| format!("cannot listen on port {port}"))?;
        let (incoming, namespace) = (listener.try_clone()?, namespace.clone());
        let thread = thread::spawn(move || serve(&incoming, &namespace, &plan));
        Ok(Inetd {
            listener,
            thread: Some(thread),
        })
    }
}

impl Drop for Inetd {
    fn drop(&mut self) {
        // An accept(2) that waits returns with an error.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // It cannot panic; if it did, there is nothing left to end.
            let _ = thread.join();
        }
    }
}

/// The server as systemd starts it for each connection.
pub(super) fn systemd(port: u16, plan: Plan) -> Plan {
    Plan {
        program: "systemd-socket-activate".into(),
        args: ["--accept", "--inetd", "--listen"]
            .map(Into::into)
            .into_iter()
            .chain([format!("[::]:{port}").into(), plan.program.into()])
            .chain(plan.args)
            .collect(),
        env: plan.env,
        log: plan.log,
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

fn serve(listener: &TcpListener, namespace: &NetNs, plan: &Plan) {
    let mut sessions: Vec<Group> = Vec::new();
    while let Ok((stream, from)) = listener.accept() {
        match session(stream, namespace, plan) {
            Ok(group) => sessions.push(group),
            Err(error) => eprintln!("no session for {from}: {error:#}"),
        }
        sessions.retain_mut(|group| !matches!(group.child.try_wait(), Ok(Some(_))));
    }
}

fn session(stream: TcpStream, namespace: &NetNs, plan: &Plan) -> Result<Group> {
    let mut command = plan.command(namespace);
    command
        .stdin(OwnedFd::from(stream.try_clone()?))
        .stdout(OwnedFd::from(stream.try_clone()?))
        .stderr(OwnedFd::from(stream));
    Group::spawn(command)
}
