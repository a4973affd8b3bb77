//! What cannot change while the server runs: it is part of what was loaded into the kernel, or of
//! sockets that listen already.

use super::Config;

/// Gives `new` the value of `running`, and tells whether they differed.
fn keep<T: Clone + PartialEq>(new: &mut T, running: &T) -> bool {
    let differs = new != running;
    if differs {
        new.clone_from(running);
    }
    differs
}

impl Config {
    /// Puts what cannot change at run time back to how it is in `running`, and names the settings
    /// that would have changed.
    pub fn keep_fixed(&mut self, running: &Config) -> Vec<&'static str> {
        // Every field is named, so that a new one has to be thought about.
        let Config {
            listen,
            greeting: _,
            hosts: _,
            users: _,
            anonymous: _,
            pam: _,
            tls,
            passive,
            active: _,
            enforce,
            // Another program's.
            guard: _,
            timeouts: _,
            limits: _,
            uploads: _,
            log,
        } = self;
        let mut kept = Vec::new();
        let mut note = |differs: bool, name| {
            if differs {
                kept.push(name);
            }
        };
        note(keep(listen, &running.listen), "listen");
        match (&mut *tls, &running.tls) {
            (Some(tls), Some(old)) => {
                note(keep(&mut tls.listen, &old.listen), "tls.listen");
            }
            (Some(tls), None) => note(keep(&mut tls.listen, &Vec::new()), "tls.listen"),
            // Implicit TLS still listens, and cannot be answered without a certificate.
            (None, Some(old)) if !old.listen.is_empty() => note(keep(tls, &running.tls), "[tls]"),
            (None, _) => {}
        }
        note(keep(&mut log.format, &running.log.format), "log.format");
        let old = &running.passive;
        note(keep(&mut passive.ports, &old.ports), "passive.ports");
        note(
            keep(&mut passive.connect_timeout, &old.connect_timeout),
            "passive.connect_timeout",
        );
        note(
            keep(&mut passive.port_timeout, &old.port_timeout),
            "passive.port_timeout",
        );
        let old = &running.enforce;
        note(keep(&mut enforce.enabled, &old.enabled), "enforce.enabled");
        note(
            keep(&mut enforce.interfaces, &old.interfaces),
            "enforce.interfaces",
        );
        note(keep(&mut enforce.attach, &old.attach), "enforce.attach");
        note(keep(&mut enforce.mark, &old.mark), "enforce.mark");
        note(
            keep(&mut enforce.client_prefix_v4, &old.client_prefix_v4),
            "enforce.client_prefix_v4",
        );
        note(
            keep(&mut enforce.client_prefix_v6, &old.client_prefix_v6),
            "enforce.client_prefix_v6",
        );
        note(keep(&mut enforce.stray, &old.stray), "enforce.stray");
        note(
            keep(&mut enforce.max_pinholes, &old.max_pinholes),
            "enforce.max_pinholes",
        );
        kept
    }
}
