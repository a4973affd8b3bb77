//! Where the daemon's settings come from, at the start and at every SIGHUP: the file, the flags above
//! it, and the sockets that were given.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use super::doubts::doubts;
use super::overrides::Overrides;
use super::signals::Hangup;
use super::{SettingsError, explain, load_config, systemd};
use crate::config::Config;
use crate::generation::{Generation, Generations};
use crate::server::{Listener, Start};

/// The file and what stands above it.
#[derive(Debug)]
pub(super) struct Source {
    file: Option<PathBuf>,
    overrides: Overrides,
    /// In place of `listen` and `tls.listen`, where sockets were given.
    given: Option<Given>,
}

#[derive(Debug)]
struct Given {
    clear: Vec<SocketAddr>,
    implicit: Vec<SocketAddr>,
}

impl Source {
    pub(super) fn new(file: Option<PathBuf>, overrides: Overrides, sockets: &[Listener]) -> Source {
        let of = |start| {
            let sockets = sockets.iter().filter(move |socket| socket.start == start);
            sockets.map(|socket| socket.address).collect()
        };
        let given = (!sockets.is_empty()).then(|| Given {
            clear: of(Start::Clear),
            implicit: of(Start::Tls),
        });
        Source {
            file,
            overrides,
            given,
        }
    }

    /// The configuration as it is now. Blocks.
    pub(super) fn read(&self) -> anyhow::Result<Config> {
        let mut config = load_config(self.file.as_deref())?;
        self.overrides.apply(&mut config)?;
        if let Some(given) = &self.given {
            let given = given.apply(&mut config);
            given.map_err(|message| SettingsError(format!("socket activation: {message}")))?;
        }
        Ok(config)
    }
}

impl Given {
    /// Puts the sockets into the configuration; the error is what is wrong with them there.
    fn apply(&self, config: &mut Config) -> Result<(), String> {
        config.listen.clone_from(&self.clear);
        match &mut config.tls {
            Some(tls) => tls.listen.clone_from(&self.implicit),
            None if self.implicit.is_empty() => {}
            None => return Err("a socket is for implicit TLS, and there is no [tls]".to_owned()),
        }
        if let Some(address) = config.rule_without_listener() {
            return Err(format!(
                "[[tls.listener]] {address} is none of the sockets that were given"
            ));
        }
        if let Some(port) = config.listened_passive_port() {
            return Err(format!(
                "port {port} is one of passive.ports: leave it out with \"!{port}\""
            ));
        }
        Ok(())
    }
}

/// Tells of what is probably not wanted.
pub(super) fn say_doubts(generation: &Generation) {
    for doubt in doubts(
        &generation.config,
        &generation.accounts,
        generation.tls.as_deref(),
    ) {
        tracing::warn!("{doubt}");
    }
}

/// Reads the settings again at each SIGHUP, for as long as the daemon lives. Those that cannot be
/// used are refused, and the old ones stay.
pub(super) async fn reload_at(mut hangup: Hangup, source: Source, generations: Arc<Generations>) {
    let source = Arc::new(source);
    loop {
        hangup.next().await;
        systemd::reloading();
        let (source, generations) = (Arc::clone(&source), Arc::clone(&generations));
        // Files, and a hash that takes its time.
        let reloaded = tokio::task::spawn_blocking(move || reload(&source, &generations)).await;
        match reloaded.context("the reload failed").and_then(|done| done) {
            Ok(()) => {
                tracing::info!("reloaded");
                systemd::ready("reloaded");
            }
            Err(error) => {
                let why = explain(&error);
                for line in why.lines() {
                    tracing::error!("reload refused: {line}");
                }
                tracing::error!("the settings stay as they were");
                let first = why.lines().next().unwrap_or_default();
                systemd::ready(&format!("reload refused: {first}"));
            }
        }
    }
}

fn reload(source: &Source, generations: &Generations) -> anyhow::Result<()> {
    for name in generations.replace(source.read()?)? {
        tracing::warn!("{name} has changed and needs a restart; it stays as it was");
    }
    say_doubts(&generations.newest());
    Ok(())
}
