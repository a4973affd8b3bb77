//! The flags of `pinhole serve` that stand above the configuration file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;

use super::SettingsError;
use crate::config::{Anonymous, Attach, Config, Enforce, Interfaces, PortSet};

#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Overrides {
    /// Listen here instead of where the file says; may be repeated ("[::]:21" takes IPv4 as well)
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,

    /// Serve this directory to everybody, read-only
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Ports that PASV and EPSV may name, such as '30000-50000,!33060'
    #[arg(long, value_name = "PORTS")]
    passive_ports: Option<PortSet>,

    #[command(flatten)]
    locks: Locks,

    /// "off" runs without eBPF and without root: ports are open to anybody while they wait
    #[arg(long, value_enum)]
    enforce: Option<OnOff>,
}

/// Which interfaces are locked, and how: the same flags for `serve` and `guard`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Locks {
    /// Guard this interface; may be repeated. "auto": every one that control connections can come
    /// in by
    #[arg(long, value_name = "IF|auto")]
    interface: Vec<String>,

    /// How to attach to the interfaces
    #[arg(long, value_enum)]
    attach: Option<Attach>,
}

impl Locks {
    /// Puts the flags into the configuration.
    pub(super) fn apply(&self, enforce: &mut Enforce) -> Result<(), SettingsError> {
        match self.interface.as_slice() {
            [] => {}
            [auto] if auto == "auto" => enforce.interfaces = Interfaces::Auto,
            names if names.iter().any(|name| name == "auto") => {
                let message = "--interface auto means every interface: name no other beside it";
                return Err(SettingsError(message.to_owned()));
            }
            names => enforce.interfaces = Interfaces::Named(names.to_vec()),
        }
        if let Some(attach) = self.attach {
            enforce.attach = attach;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnOff {
    On,
    Off,
}

impl Overrides {
    /// Puts the flags into the configuration.
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), SettingsError> {
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        if let Some(root) = &self.root {
            config.anonymous = Some(Anonymous::new(root.clone()));
            for host in &mut config.hosts {
                host.anonymous_root = None;
            }
        }
        if let Some(ports) = &self.passive_ports {
            config.passive.ports = ports.clone();
        }
        self.locks.apply(&mut config.enforce)?;
        if let Some(enforce) = self.enforce {
            config.enforce.enabled = enforce == OnOff::On;
        }
        if let Some(address) = config.rule_without_listener() {
            return Err(SettingsError(format!(
                "[[tls.listener]] has rules for {address}, and --listen leaves it out"
            )));
        }
        if let Some(port) = config.listened_passive_port() {
            return Err(SettingsError(format!(
                "port {port} is listened on for control connections and cannot be a passive port: \
                 leave it out with --passive-ports '{},!{port}'",
                config.passive.ports
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::VirtualHost;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        overrides: Overrides,
    }

    fn applied(flags: &str) -> anyhow::Result<Config> {
        let flags = std::iter::once("pinhole").chain(flags.split_whitespace());
        let mut config = Config::default();
        Flags::try_parse_from(flags)?.overrides.apply(&mut config)?;
        Ok(config)
    }

    #[test]
    fn a_root_for_everybody_is_every_hosts() {
        let mut config = Config::default();
        config.hosts.push(VirtualHost {
            anonymous_root: Some("/srv/a".into()),
            ..VirtualHost::default()
        });
        let flags = Flags::try_parse_from(["pinhole", "--root", "/srv/ftp"]).unwrap();
        flags.overrides.apply(&mut config).unwrap();
        assert_eq!(config.anonymous, Some(Anonymous::new("/srv/ftp")));
        assert_eq!(config.hosts[0].anonymous_root, None);
    }

    #[test]
    fn no_flags_change_nothing() {
        assert_eq!(applied("").unwrap(), Config::default());
    }

    #[test]
    fn each_flag_stands_above_the_file() {
        let config = applied(
            "--listen 127.0.0.1:2121 --listen [::1]:2121 --root /srv --passive-ports 40000-40009 \
             --interface eth0 --interface eth1 --attach tcx --enforce off",
        )
        .unwrap();
        assert_eq!(config.listen.len(), 2);
        assert_eq!(config.anonymous, Some(Anonymous::new("/srv")));
        assert_eq!(config.passive.ports.to_string(), "40000-40009");
        let names = ["eth0", "eth1"].map(str::to_owned).to_vec();
        assert_eq!(config.enforce.interfaces, Interfaces::Named(names));
        assert_eq!(config.enforce.attach, Attach::Tcx);
        assert!(!config.enforce.enabled);
        assert!(applied("--enforce on").unwrap().enforce.enabled);
        let auto = applied("--interface auto").unwrap().enforce.interfaces;
        assert_eq!(auto, Interfaces::Auto);
    }

    #[test]
    fn wrong_flags_say_what_is_right() {
        let said = |flags: &str| applied(flags).unwrap_err().to_string();
        assert!(said("--interface eth0 --interface auto").contains("no other"));
        assert!(said("--passive-ports 50000-30000").contains("30000-50000"));
        assert!(said("--listen 127.0.0.1:30021").contains("30000-50000,!30021"));
        assert!(said("--attach xdp").contains("native"));
        assert!(said("--listen localhost").contains("--listen"));
    }
}
