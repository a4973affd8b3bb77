//! The list `hosts`, and the tables `[[host]]`.

use toml::Spanned;

use super::super::file;
use super::super::values::{greeting, host_name};
use super::super::{Certificate, Problem, VirtualHost};
use super::Check;

impl Check<'_> {
    /// All hosts. The names of the list are those of a host without settings.
    pub(super) fn hosts(
        &mut self,
        list: Vec<Spanned<String>>,
        tables: Vec<file::Host>,
        tls: bool,
        anonymous: bool,
    ) -> Vec<VirtualHost> {
        let mut known = Vec::new();
        let names = self.names(list, &mut known);
        let mut hosts = Vec::new();
        if !names.is_empty() {
            hosts.push(VirtualHost {
                names,
                ..VirtualHost::default()
            });
        }
        for table in tables {
            let at = table.names.span();
            if table.names.get_ref().is_empty() {
                let right = "the list is empty: name the host, such as \"ftp.example.com\"";
                self.problem(at, right);
            }
            if let Some(root) = table.anonymous_root.as_ref().filter(|_| !anonymous) {
                let why = "there are no anonymous sessions: add [anonymous], or leave this out";
                self.problem(root.span(), why);
            }
            let mut host = VirtualHost {
                names: self.names(table.names.into_inner(), &mut known),
                ..VirtualHost::default()
            };
            self.text(table.greeting, &mut host.greeting, |text| {
                greeting(text).map(Some)
            });
            let root = table.anonymous_root;
            host.anonymous_root = root.map(|root| self.root(&root, false));
            host.certificate = match (table.certificate, table.key) {
                (None, None) => None,
                (Some(certificate), Some(key)) => {
                    if !tls {
                        let why = "there is no [tls]: add it with a certificate for clients that \
                                   name no host, or leave this one out";
                        self.problem(certificate.span(), why);
                    }
                    Some(Certificate {
                        chain: self.file(&certificate, "certificate", ""),
                        key: self.file(&key, "private key", ""),
                    })
                }
                (Some(alone), None) => {
                    self.problem(alone.span(), "the certificate's `key` is missing");
                    None
                }
                (None, Some(alone)) => {
                    self.problem(alone.span(), "the key's `certificate` is missing");
                    None
                }
            };
            hosts.push(host);
        }
        hosts
    }

    /// Good names that nobody has yet; `known` are all so far, each with its line.
    fn names(
        &mut self,
        given: Vec<Spanned<String>>,
        known: &mut Vec<(String, usize)>,
    ) -> Vec<String> {
        let mut names = Vec::new();
        for name in given {
            let (at, name) = (name.span(), name.into_inner());
            if let Err(message) = host_name(&name) {
                self.problem(at, message);
                continue;
            }
            let mut earlier = known.iter();
            if let Some((earlier, line)) =
                earlier.find(|(known, _)| known.eq_ignore_ascii_case(&name))
            {
                let message = format!("\"{name}\" is named twice: line {line} has \"{earlier}\"");
                self.problem(at, message);
                continue;
            }
            let line = Problem::at(self.path, self.text, at.start, "").line;
            known.push((name.clone(), line));
            names.push(name);
        }
        names
    }
}
