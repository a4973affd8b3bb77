//! Which of the flags, `[guard]` and `[enforce]` decides.

use clap::Parser as _;

use super::*;
use crate::config::{Attach, Interfaces};

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    args: Args,
}

fn options(flags: &str, config: Config) -> anyhow::Result<GuardOptions> {
    let flags = std::iter::once("guard").chain(flags.split_whitespace());
    Flags::try_parse_from(flags)?.args.options(config)
}

fn configured() -> Config {
    let text = "[enforce]\nattach = \"native\"\ninterfaces = [\"eth0\"]\n[guard]\n\
                control_ports = \"2121\"\nports = \"40000\"\nattach = \"tcx\"\n\
                on_exit = \"closed\"\ndry_run = true\nnetns = [\"blue\"]\n";
    Config::parse("/p.toml".as_ref(), text).unwrap()
}

#[test]
fn the_guards_own_settings_stand_above_the_locks() {
    let GuardOptions { guard, enforce } = options("", configured()).unwrap();
    assert_eq!(enforce.attach, Attach::Tcx);
    assert_eq!(
        enforce.interfaces,
        Interfaces::Named(vec!["eth0".to_owned()])
    );
    assert_eq!(guard, configured().guard);
}

#[test]
fn flags_stand_above_both() {
    let flags = "--control-port 21 --control-port 990 --ports 30000-30009 --ports 31000 \
                 --attach generic \
                 --interface auto --on-exit open --unresolved admit-control-peers --netns self";
    let GuardOptions { guard, enforce } = options(flags, configured()).unwrap();
    assert_eq!(guard.control_ports.to_string(), "21,990");
    assert_eq!(guard.ports.unwrap().to_string(), "30000-30009,31000");
    assert_eq!(guard.on_exit, OnExit::Open);
    assert_eq!(guard.unresolved, Unresolved::AdmitControlPeers);
    assert_eq!(guard.netns, ["self"]);
    assert!(guard.dry_run);
    assert_eq!(enforce.attach, Attach::Generic);
    assert_eq!(enforce.interfaces, Interfaces::Auto);
}

#[test]
fn the_control_port_is_never_shut() {
    let said = options("--ports 20-30", Config::default()).unwrap_err();
    assert!(said.to_string().contains("\"!21\""), "{said}");
    assert!(options("--ports 20-30 --control-port 31", Config::default()).is_ok());
}

#[test]
fn what_only_the_server_needs_may_be_missing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pinhole.toml");
    let text = "users = \"/nowhere/users.toml\"\n[anonymous]\nroot = \"/nowhere\"\n\
                [tls]\ncertificate = \"/nowhere/cert.pem\"\nkey = \"/nowhere/key.pem\"\n\
                [guard]\nports = \"40000\"\n";
    std::fs::write(&file, text).unwrap();
    let guard = settings(Some(&file)).unwrap().guard;
    assert_eq!(guard.ports.unwrap().to_string(), "40000");
    // Not what cannot be understood: it could be the guard's.
    std::fs::write(&file, "[guard]\nport = \"40000\"\n").unwrap();
    assert!(settings(Some(&file)).is_err());
}

#[test]
fn the_start_says_which_ports_are_guarded() {
    let said = |flags| in_words(&options(flags, Config::default()).unwrap().guard);
    assert_eq!(
        said(""),
        "control ports: 21; shut unless negotiated: whatever their sessions listen on"
    );
    assert_eq!(
        said("--control-port 21,990 --ports 30000-30100 --dry-run"),
        "control ports: 21,990; would be shut unless negotiated: 30000-30100, and whatever their \
         sessions listen on"
    );
}
