//! The `[guard]` section.

use toml::Spanned;

use super::super::{Guard, OWN_NAMESPACE, PortSet, file};
use super::{Check, set};

impl Check<'_> {
    pub(super) fn guard(&mut self, given: file::Guard) -> Guard {
        let mut guard = Guard::default();
        let ports_at = given.ports.as_ref().map(Spanned::span);
        let read = |text: &str| text.parse::<PortSet>().map_err(|error| error.to_string());
        self.text(given.control_ports, &mut guard.control_ports, read);
        let mut ports = PortSet::default();
        if self.text(given.ports, &mut ports, read) {
            guard.ports = Some(ports);
        }
        if let Some(message) = guard.shut_control_port() {
            self.problem(ports_at.unwrap_or_default(), message);
        }
        if let Some(interfaces) = given.interfaces {
            self.interfaces(&interfaces);
            guard.interfaces = Some(interfaces.into_inner());
        }
        guard.attach = given.attach;
        set(given.dry_run, &mut guard.dry_run);
        set(given.on_exit, &mut guard.on_exit);
        set(given.unresolved, &mut guard.unresolved);
        if let Some(netns) = given.netns {
            self.namespaces(&netns);
            let names = netns.into_inner().into_iter();
            guard.netns = names.map(Spanned::into_inner).collect();
        }
        set(given.bpffs, &mut guard.bpffs);
        guard
    }

    fn namespaces(&mut self, given: &Spanned<Vec<Spanned<String>>>) {
        if given.get_ref().is_empty() {
            let right = format!("the list is empty: write [\"{OWN_NAMESPACE}\"]");
            self.problem(given.span(), right);
        }
        for (index, name) in given.get_ref().iter().enumerate() {
            let text = name.get_ref();
            // A name is a file in /run/netns (ip-netns(8)); a path is absolute.
            if text.is_empty() || (text.contains('/') && !text.starts_with('/')) {
                let right = format!(
                    "\"{text}\" is neither \"{OWN_NAMESPACE}\", nor a name that `ip netns list` \
                     shows, nor an absolute path such as \"/proc/1234/ns/net\""
                );
                self.problem(name.span(), right);
            }
            let mut earlier = given.get_ref().iter().take(index);
            if earlier.any(|other| other.get_ref() == text) {
                self.problem(name.span(), format!("\"{text}\" is named twice"));
            }
        }
    }
}
