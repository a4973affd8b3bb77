//! `pinhole guard --release`: takes away what guards have left at work, whatever has become of the
//! settings since.

use std::path::Path;

use anyhow::Context as _;

use super::super::explain;
use super::super::log::Logging;
use super::{Args, in_namespace, prefix};
use crate::config::{Config, ConfigError};
use crate::pinholes::kernel::Guard;

pub(super) fn run(
    args: &Args,
    config: Result<Config, ConfigError>,
    logging: &Logging,
) -> anyhow::Result<()> {
    let (config, unusable) = usable(config);
    logging.start(config.log.format)?;
    let guard = args.options(config)?.guard;
    if let Some(error) = unusable {
        for line in explain(&error.into()).lines() {
            tracing::warn!("{line}");
        }
        tracing::warn!(
            "the settings cannot be used; what is left in {} is released all the same",
            guard.bpffs.display()
        );
    }
    if args.netns.is_empty() {
        return everywhere(&guard.bpffs);
    }
    for name in &args.netns {
        let released = in_namespace(name, || Ok(Guard::release(&guard.bpffs)?));
        let released = released.with_context(|| {
            format!(
                "cannot release network namespace {name} (without --netns, also those are released \
                 that are gone)"
            )
        })?;
        match released {
            true => tracing::info!("{}released", prefix(name)),
            false => tracing::info!("{}nothing was left to release", prefix(name)),
        }
    }
    Ok(())
}

/// The namespaces of what is left may be gone, and are not entered.
fn everywhere(bpffs: &Path) -> anyhow::Result<()> {
    let released = Guard::release_all(bpffs)?;
    for namespace in &released {
        tracing::info!("network namespace {namespace}: released");
    }
    if released.is_empty() {
        tracing::info!("nothing was left to release in {}", bpffs.display());
    }
    Ok(())
}

/// The defaults in place of settings that cannot be used: nothing in them is a reason to leave a host
/// shut.
fn usable(config: Result<Config, ConfigError>) -> (Config, Option<ConfigError>) {
    match config {
        Ok(config) => (config, None),
        Err(error) => (Config::default(), Some(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_used_are_named_and_gone_without() {
        let (config, unusable) = usable(Config::parse("/p.toml".as_ref(), "[guard"));
        assert_eq!(config, Config::default());
        assert!(unusable.unwrap().to_string().starts_with("/p.toml:1:"));
        let text = "[guard]\nbpffs = \"/bpf\"\n";
        let (config, unusable) = usable(Config::parse("/p.toml".as_ref(), text));
        assert_eq!(config.guard.bpffs, Path::new("/bpf"));
        assert!(unusable.is_none());
    }
}
