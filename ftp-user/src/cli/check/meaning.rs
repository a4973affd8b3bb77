//! What a configuration means, in words for the one who wrote it.

use super::Checked;
use crate::config::{
    self, Active, Config, Enforce, ForNetwork, Interfaces, Limits, LogFormat, OnExit, Passive,
    PublicAddress, Timeouts, TlsPolicy, Unresolved, Uploads, Use, VirtualHost,
};
use crate::tls::Tls;

/// Of a list without end, as many are shown: here it is about what the settings mean.
const MOST: usize = 20;

impl Checked {
    /// The accounts with limits of their own.
    fn own_limits(&self) -> Vec<String> {
        let general = self.config.limits.account;
        let anonymous = self.accounts.anonymous();
        let mut own: Vec<String> = self
            .accounts
            .users()
            .chain(anonymous.as_deref())
            .filter(|account| account.limits != general)
            .map(|account| format!("{}: {}", account.name, account.limits))
            .collect();
        own.sort();
        first(own, "with limits of their own")
    }

    /// One line for each part: what it is, and what it means.
    pub(super) fn meaning(&self) -> Vec<(&'static str, String)> {
        let config = &self.config;
        let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
        let mut meaning = vec![
            ("listen", listen.join(", ")),
            ("greeting", format!("220 {}", config.greeting)),
            ("TLS", tls_meaning(config.tls.as_ref(), self.tls.as_ref())),
        ];
        let hosts = hosts_meaning(&config.hosts, self.tls.as_ref());
        let labels = std::iter::once("hosts").chain(std::iter::repeat(""));
        meaning.extend(labels.zip(hosts));
        meaning.extend(self.who());
        meaning.push(("passive ports", passive_meaning(&config.passive)));
        meaning.push(("active mode", active_meaning(&config.active)));
        meaning.extend(enforce_meaning(&config.enforce));
        meaning.push(("sessions", sessions_meaning(&config.limits)));
        meaning.push(("LIST -R", recursion_meaning(&config.limits)));
        meaning.push(("each account", config.limits.account.to_string()));
        meaning.extend(self.own_limits().into_iter().map(|own| ("", own)));
        meaning.push(("uploads", uploads_meaning(config.uploads)));
        meaning.push(("timeouts", timeouts_meaning(&config.timeouts)));
        meaning.push(("log", log_meaning(&config.log)));
        if config.guard != config::Guard::default() {
            meaning.push(("pinhole guard", guard_meaning(&config.guard)));
        }
        meaning
    }

    /// Who may log in.
    fn who(&self) -> [(&'static str, String); 3] {
        let Config { anonymous, pam, .. } = &self.config;
        let users = self.accounts.users().count();
        let host_users = match pam {
            Some(pam) => format!(
                "from uid {} on, in their homes, by the PAM service \"{}\"",
                pam.min_uid, pam.service
            ),
            None => "nobody".to_owned(),
        };
        let anonymous = match anonymous {
            Some(anonymous) => format!("read-only in {}", anonymous.root.display()),
            None => "nobody".to_owned(),
        };
        [
            ("password users", users.to_string()),
            ("users of the host", host_users),
            ("anonymous", anonymous),
        ]
    }
}

fn first(mut lines: Vec<String>, what: &str) -> Vec<String> {
    if let Some(more) = lines.len().checked_sub(MOST).filter(|more| *more > 0) {
        lines.truncate(MOST);
        lines.push(format!("and {more} more {what}"));
    }
    lines
}

fn hosts_meaning(hosts: &[VirtualHost], loaded: Option<&Tls>) -> Vec<String> {
    let line = |host: &VirtualHost| {
        let mut line = host.names.join(", ");
        if let Some(greeting) = &host.greeting {
            line += &format!("; 220 {greeting}");
        }
        if let Some(certificate) = &host.certificate {
            line += &format!("; certificate {}", certificate.chain.display());
            if let Some(day) = loaded.and_then(|tls| tls.last_day(&certificate.chain)) {
                line += &format!(" until {day}");
            }
        }
        if let Some(root) = &host.anonymous_root {
            line += &format!("; anonymous in {}", root.display());
        }
        line
    };
    first(hosts.iter().map(line).collect(), "hosts")
}

fn passive_meaning(passive: &Passive) -> String {
    let mut address = match &passive.address {
        PublicAddress::Own => String::new(),
        address => format!("; PASV names {address}"),
    };
    for own in &passive.addresses {
        let ForNetwork {
            network,
            address: named,
        } = own;
        address += &format!(", to {network} {named}");
    }
    format!(
        "{} ({}), each open for up to {}{address}",
        passive.ports,
        passive.ports.len(),
        humantime::format_duration(passive.connect_timeout)
    )
}

fn active_meaning(active: &Active) -> String {
    let asked = match (active.enabled, active.from_port_20) {
        (false, _) => "refused",
        (true, true) => "to the client itself, from port 20",
        (true, false) => "to the client itself, from any port",
    };
    let unasked = match active.default_port {
        true => "; without PASV or PORT to the port of its control connection, from port 20",
        false => "",
    };
    format!("{asked}{unasked}")
}

fn uploads_meaning(uploads: Uploads) -> String {
    let Uploads {
        atomic,
        sync,
        remove_aborted,
    } = uploads;
    let named = match atomic {
        true => "take their names when they are whole",
        false => "take their names at once",
    };
    let synced = match sync {
        true => "are on the disk before they are reported complete",
        false => "come to the disk when the kernel sees fit",
    };
    let aborted = match remove_aborted {
        true => "removed",
        false => "kept",
    };
    format!("{named}, {synced}; what breaks off is {aborted}")
}

fn log_meaning(log: &config::Log) -> String {
    let format = match log.format {
        LogFormat::Text => "text",
        LogFormat::Json => "JSON",
    };
    let transfers = log.xferlog.as_ref();
    let transfers = transfers.map(|path| format!("; each transfer in {}", path.display()));
    format!(
        "{format} on standard error{}",
        transfers.unwrap_or_default()
    )
}

fn enforce_meaning(enforce: &Enforce) -> Vec<(&'static str, String)> {
    if !enforce.enabled {
        let nothing = "nothing: ports are open to anybody while they wait";
        return vec![("enforced on", nothing.to_owned())];
    }
    let interfaces = match &enforce.interfaces {
        Interfaces::Auto => "every interface that clients can come in by".to_owned(),
        Interfaces::Named(names) => names.join(", "),
    };
    let attach = format!("{:?}", enforce.attach).to_lowercase();
    let mark = enforce
        .mark
        .map(|mark| format!(", marks admitted packets {mark:#x}"));
    let mark = mark.unwrap_or_default();
    let (v4, v6) = (enforce.client_prefix_v4, enforce.client_prefix_v6);
    vec![
        (
            "enforced on",
            format!("{interfaces} (attach: {attach}{mark})"),
        ),
        (
            "data connections",
            format!("who shares /{v4} (IPv4) or /{v6} (IPv6) with the control connection"),
        ),
    ]
}

fn sessions_meaning(limits: &Limits) -> String {
    let limit = |number: usize| match number {
        0 => "any number".to_owned(),
        number => number.to_string(),
    };
    format!(
        "{}; from one address {}",
        limit(limits.sessions),
        limit(limits.sessions_per_address)
    )
}

fn recursion_meaning(limits: &Limits) -> String {
    match (limits.recursive_entries, limits.recursive_depth) {
        (0, _) | (_, 0) => "as LIST".to_owned(),
        (entries, depth) => format!("{entries} entries, {depth} directories deep"),
    }
}

fn timeouts_meaning(timeouts: &Timeouts) -> String {
    let time = |duration| humantime::format_duration(duration).to_string();
    format!(
        "login {}, idle {}, stalled transfer {}, transfers at shutdown {}, taking over at SIGUSR2 {}, \
         sessions after it {}",
        time(timeouts.login),
        time(timeouts.idle),
        time(timeouts.stall),
        time(timeouts.drain),
        time(timeouts.takeover),
        match timeouts.restart.is_zero() {
            true => "without limit".to_owned(),
            false => time(timeouts.restart),
        }
    )
}

fn guard_meaning(guard: &config::Guard) -> String {
    let ports = match &guard.ports {
        Some(ports) => format!("shuts {ports}"),
        None => "shuts what servers listen on for data".to_owned(),
    };
    let dry = match guard.dry_run {
        true => " (dry run: drops nothing)",
        false => "",
    };
    let unresolved = match guard.unresolved {
        Unresolved::Shut => "",
        Unresolved::AdmitControlPeers => ", admits control peers where it knows no better",
    };
    let on_exit = match guard.on_exit {
        OnExit::Open => "ends open",
        OnExit::Closed => "works on without its daemon",
    };
    format!(
        "control ports {}, {ports}{dry}{unresolved}, {on_exit}; network namespaces: {}",
        guard.control_ports,
        guard.netns.join(", ")
    )
}

fn tls_meaning(tls: Option<&config::Tls>, loaded: Option<&Tls>) -> String {
    let Some(tls) = tls else {
        return "none: passwords and files are sent in the clear".to_owned();
    };
    let word = |used| match used {
        Use::Off => "off",
        Use::Allow => "allowed",
        Use::Require => "required",
    };
    let binding = format!("{:?}", tls.session_binding).to_lowercase();
    let implicit: Vec<String> = tls.listen.iter().map(ToString::to_string).collect();
    let implicit = match implicit.as_slice() {
        [] => String::new(),
        addresses => format!("; implicit on {}", addresses.join(", ")),
    };
    let words = |policy: &TlsPolicy| {
        let (control, data) = (word(policy.control), word(policy.data));
        format!("AUTH TLS {control}, PROT P {data}")
    };
    let own: String = tls
        .listeners
        .iter()
        .map(|own| format!("; on {}: {}", own.address, words(&own.policy)))
        .collect();
    let general = TlsPolicy {
        control: tls.mode,
        data: tls.data,
    };
    let names = match tls.check_server_name {
        true => "; a host that is named has to be its certificate's",
        false => "",
    };
    let day = loaded.and_then(|loaded| loaded.last_day(&tls.certificate));
    let until = day.map_or_else(String::new, |day| format!("; certificate until {day}"));
    format!(
        "{} (session binding: {binding}){implicit}{own}{names}{until}",
        words(&general)
    )
}
