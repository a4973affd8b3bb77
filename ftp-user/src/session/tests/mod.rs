//! Sessions from outside: a server on a loopback port, a scripted client, ordinary listeners for
//! passive ports. What only a namespace or the kernel half can show is in the workspace's tests.

mod abort;
mod accounts;
mod conformance;
mod deflate;
mod ends;
mod extensions;
mod files;
mod limits;
mod listing;
mod login;
mod ports;
mod reload;
mod tls;
mod transfers;

use crate::auth::{Hash, Password, User, UsersFile};
use crate::config::{Anonymous, Config};
use crate::generation::{Generation, Generations};
use crate::pinholes::Pinholes;
use crate::server::{Orders, ServeError, bind_all, serve};
use rustls::{ClientConnection, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Longer than anything here takes, so that what hangs fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server and its files.
struct Server {
    address: SocketAddr,
    /// Of the second listener, if there is one.
    second: Option<SocketAddr>,
    files: tempfile::TempDir,
    config: Config,
    generations: Generations,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<tokio::task::JoinHandle<Result<(), ServeError>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    fn start() -> Server {
        Server::start_with(|_| {})
    }

    fn start_with(change: impl FnOnce(&mut Config)) -> Server {
        let files = tempfile::tempdir().unwrap();
        let users = files.path().join("users.toml");
        let root = files.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let hash = Hash::new(&Password::new(b"secret".to_vec())).unwrap();
        UsersFile::new(&users)
            .add(User::new("alice", hash, &root))
            .unwrap();
        let mut config = Config {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            users: Some(users),
            anonymous: Some(Anonymous::new(root)),
            ..Config::default()
        };
        config.enforce.enabled = false;
        change(&mut config);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listeners = bind_all(&config, Vec::new()).unwrap();
        let address = listeners[0].address;
        let second = listeners.get(1).map(|listener| listener.address);
        let pinholes = Pinholes::listeners(&config);
        let generations = Generations::new(Generation::load(config.clone()).unwrap());
        let newest = generations.follow();
        let (stop, stopped) = oneshot::channel();
        let serving = runtime.spawn(async move {
            let orders = Orders {
                stop: async { drop(stopped.await) },
                alone: std::future::pending(),
                quotas: None,
                relief: mpsc::channel(1).1,
            };
            serve(listeners, newest, pinholes, 1, orders).await
        });
        Server {
            address,
            second,
            files,
            config,
            generations,
            stop: Some(stop),
            serving: Some(serving),
            runtime: Some(runtime),
        }
    }

    /// Reloads, with another configuration than at the start.
    fn reload(&self, change: impl FnOnce(&mut Config)) {
        let mut config = self.config.clone();
        change(&mut config);
        self.generations.replace(config).unwrap();
    }

    /// With other settings for alice.
    fn start_as(change: impl FnOnce(&mut User)) -> Server {
        Server::start_with(|config| settle(config, change))
    }

    fn root(&self) -> PathBuf {
        self.files.path().join("root")
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.root().join(name)).unwrap()
    }

    /// A file with holes: large, and costs nothing.
    fn put_large(&self, name: &str, size: u64) {
        std::fs::File::create(self.root().join(name))
            .unwrap()
            .set_len(size)
            .unwrap();
    }

    fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// A session of the user who may do everything, in TYPE I.
    fn alice(&self) -> Client {
        let mut client = self.connect();
        client.expect("USER alice", 331);
        client.expect("PASS secret", 230);
        client.expect("TYPE I", 200);
        client
    }

    fn anonymous(&self) -> Client {
        let mut client = self.connect();
        client.expect("USER anonymous", 331);
        client.expect("PASS me@example.org", 230);
        client.expect("TYPE I", 200);
        client
    }

    fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits until `serve` has returned.
    fn join(&mut self) {
        let serving = self.serving.take().unwrap();
        let runtime = self.runtime.as_ref().unwrap();
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, serving).await })
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

/// Changes alice's settings before the server starts.
fn settle(config: &Config, change: impl FnOnce(&mut User)) {
    let users = UsersFile::new(config.users.as_ref().unwrap());
    users.change("alice", change).unwrap();
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A client that says exactly what it is told to.
struct Client {
    control: BufReader<Wire>,
}

/// A client's socket, in the clear or inside TLS.
enum Wire {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// While the one becomes the other.
    Between,
}

impl Wire {
    fn socket(&self) -> &TcpStream {
        match self {
            Wire::Clear(socket) => socket,
            Wire::Tls(tls) => &tls.sock,
            Wire::Between => unreachable!(),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Wire::Clear(socket) => socket.read(buffer),
            Wire::Tls(tls) => tls.read(buffer),
            Wire::Between => unreachable!(),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Wire::Clear(socket) => socket.write(bytes),
            Wire::Tls(tls) => tls.write(bytes),
            Wire::Between => unreachable!(),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Wire::Clear(socket) => socket.flush(),
            Wire::Tls(tls) => tls.flush(),
            Wire::Between => unreachable!(),
        }
    }
}

impl Client {
    fn connect(to: SocketAddr) -> Client {
        let mut client = Client::over(Wire::Clear(data(to)));
        assert_eq!(client.reply().0, 220);
        client
    }

    fn over(wire: Wire) -> Client {
        Client {
            control: BufReader::new(wire),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let wire = self.control.get_mut();
        wire.write_all(bytes).unwrap();
        wire.flush().unwrap();
    }

    /// The next whole reply.
    fn reply(&mut self) -> (u16, String) {
        let mut text = String::new();
        loop {
            let start = text.len();
            let mut line = Vec::new();
            let read = self.control.read_until(b'\n', &mut line).unwrap();
            assert!(read > 0, "closed after {text:?}");
            assert!(line.ends_with(b"\r\n"), "{line:?}");
            text.push_str(&String::from_utf8_lossy(&line));
            let line = &text[start..];
            if line.as_bytes().get(3) == Some(&b' ')
                && let Ok(code) = line[..3].parse()
            {
                return (code, text);
            }
        }
    }

    fn expect_reply(&mut self, code: u16) -> String {
        let (got, text) = self.reply();
        assert_eq!(got, code, "{text:?}");
        text
    }

    fn expect(&mut self, command: &str, code: u16) -> String {
        self.send(format!("{command}\r\n").as_bytes());
        let (got, text) = self.reply();
        assert_eq!(got, code, "{command}: {text:?}");
        text
    }

    /// Is the connection at its end, with nothing more to read?
    fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.control.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    fn server(&self) -> IpAddr {
        self.control.get_ref().socket().peer_addr().unwrap().ip()
    }

    fn pasv_port(&mut self) -> u16 {
        let text = self.expect("PASV", 227);
        let inner = text.split(['(', ')']).nth(1).unwrap();
        crate::proto::address::parse_port(inner.as_bytes())
            .unwrap()
            .port()
    }

    fn epsv_port(&mut self) -> u16 {
        let text = self.expect("EPSV", 229);
        text.split('|').nth(3).unwrap().parse().unwrap()
    }

    fn pasv(&mut self) -> TcpStream {
        let port = self.pasv_port();
        data(SocketAddr::new(self.server(), port))
    }

    fn retr(&mut self, path: &str) -> Vec<u8> {
        let mut data = self.pasv();
        self.expect(&format!("RETR {path}"), 150);
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes).unwrap();
        self.expect_reply(226);
        bytes
    }

    fn store(&mut self, command: &str, bytes: &[u8]) {
        let mut data = self.pasv();
        self.expect(command, 150);
        data.write_all(bytes).unwrap();
        drop(data);
        self.expect_reply(226);
    }

    fn listing(&mut self, command: &str) -> String {
        let mut data = self.pasv();
        self.expect(command, 150);
        let mut text = String::new();
        data.read_to_string(&mut text).unwrap();
        self.expect_reply(226);
        text
    }
}

fn data(to: SocketAddr) -> TcpStream {
    let data = TcpStream::connect(to).unwrap();
    data.set_read_timeout(Some(PATIENCE)).unwrap();
    data.set_write_timeout(Some(PATIENCE)).unwrap();
    data
}

/// A listening socket of the client's, and the PORT command that names it.
fn active() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let [high, low] = listener.local_addr().unwrap().port().to_be_bytes();
    (listener, format!("PORT 127,0,0,1,{high},{low}"))
}

/// Bytes that no two places have in common.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..size)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect()
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
