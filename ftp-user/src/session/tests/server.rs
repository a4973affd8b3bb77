//! A server on a loopback port, and its files.

use super::{Client, PATIENCE};
use crate::auth::{Hash, Password, User, UsersFile};
use crate::config::{Anonymous, Config, Principal};
use crate::generation::{Generation, Generations};
use crate::pinholes::Pinholes;
use crate::server::{Orders, ServeError, bind_all, serve};
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot};

/// A server and its files.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// Of the second listener, if there is one.
    pub(super) second: Option<SocketAddr>,
    pub(super) files: tempfile::TempDir,
    pub(super) config: Config,
    pub(super) generations: Generations,
    pub(super) stop: Option<oneshot::Sender<()>>,
    pub(super) serving: Option<tokio::task::JoinHandle<Result<(), ServeError>>>,
    pub(super) runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    pub(super) fn start() -> Server {
        Server::start_with(|_| {})
    }

    pub(super) fn start_with(change: impl FnOnce(&mut Config)) -> Server {
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
                remains: None,
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
    pub(super) fn reload(&self, change: impl FnOnce(&mut Config)) {
        let mut config = self.config.clone();
        change(&mut config);
        self.generations.replace(config).unwrap();
    }

    /// With other settings for alice.
    pub(super) fn start_as(change: impl FnOnce(&mut User)) -> Server {
        Server::start_with(|config| settle(config, change))
    }

    /// Alice is a user of the host whom nobody else is. `None`, and said so, where that takes root.
    pub(super) fn start_as_another(change: impl FnOnce(&mut User)) -> Option<Server> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root may become somebody else");
            return None;
        }
        Some(Server::start_as(|alice| {
            alice.uid = Some(Principal::Id(54_321));
            alice.gid = Some(Principal::Id(54_322));
            change(alice);
        }))
    }

    pub(super) fn root(&self) -> PathBuf {
        self.files.path().join("root")
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(super) fn get(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.root().join(name)).unwrap()
    }

    /// A file with holes: large, and costs nothing.
    pub(super) fn put_large(&self, name: &str, size: u64) {
        std::fs::File::create(self.root().join(name))
            .unwrap()
            .set_len(size)
            .unwrap();
    }

    pub(super) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// A session of the user who may do everything, in TYPE I.
    pub(super) fn alice(&self) -> Client {
        let mut client = self.connect();
        client.expect("USER alice", 331);
        client.expect("PASS secret", 230);
        client.expect("TYPE I", 200);
        client
    }

    pub(super) fn anonymous(&self) -> Client {
        let mut client = self.connect();
        client.expect("USER anonymous", 331);
        client.expect("PASS me@example.org", 230);
        client.expect("TYPE I", 200);
        client
    }

    pub(super) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits until `serve` has returned.
    pub(super) fn join(&mut self) {
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
pub(super) fn settle(config: &Config, change: impl FnOnce(&mut User)) {
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
