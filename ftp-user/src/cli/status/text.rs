//! What is known of a daemon, for people.

use std::fmt::Write as _;

use super::{CENTURY, Daemon, Guarded};
use crate::pinholes::inspect::{Controls, Listener};
use crate::pinholes::kernel::name_of;

impl Daemon {
    pub(super) fn text(&self) -> String {
        let kind = match self.guard {
            Some(_) => "pinhole guard",
            None => "pinhole",
        };
        let place = self.guard.as_ref().map_or(String::new(), Guarded::place);
        let mut out = match (self.pid, &self.pinned) {
            (Some(pid), _) => format!("{kind}, process {pid}{place}\n\n"),
            (None, Some(folder)) => format!(
                "{kind}, without a process{place}; pinned in {}\n\n",
                folder.display()
            ),
            (None, None) => format!("{kind}{place}\n\n"),
        };
        // Writing to memory does not fail.
        let _ = match self.pinholes.len() {
            0 => writeln!(out, "no pinhole waits"),
            1 => writeln!(out, "1 pinhole waits:"),
            count => writeln!(out, "{count} pinholes wait:"),
        };
        for row in &self.pinholes {
            let state = match row.claimed_by {
                Some(port) => format!("taken by source port {port}"),
                // The guard's have no deadline.
                None if row.remaining > CENTURY => "until its listener closes".to_owned(),
                None => format!("for {} s", row.remaining.as_secs()),
            };
            let (port, session) = (row.port, row.session);
            let _ = match row.client.is_unspecified() {
                false => writeln!(
                    out,
                    "  {} may come to {} port {port}, session {session}, {state}",
                    row.client, row.server
                ),
                true => writeln!(
                    out,
                    "  any one client with a control connection may come to port {port}, session \
                     {session}, {state}"
                ),
            };
        }
        if let Some(guard) = &self.guard {
            guard.write(&mut out);
        }
        out.push_str("\npackets by verdict:\n");
        if self.guard.as_ref().is_some_and(|guard| guard.dry_run) {
            out.push_str("  (a dry run: all of them passed, whatever is counted here)\n");
        }
        for (reason, packets) in &self.verdicts {
            let _ = writeln!(out, "  {reason:20} {packets:>14}");
        }
        out.push('\n');
        out
    }
}

impl Guarded {
    /// Which of several it is.
    fn place(&self) -> String {
        let name = name_of(self.namespace).map_or(String::new(), |name| format!(" ({name})"));
        format!(", network namespace {}{name}", self.namespace)
    }

    fn write(&self, out: &mut String) {
        let Controls { seen, older } = self.controls;
        let and_older = if older {
            ", and some from before the guard"
        } else {
            ""
        };
        // Writing to memory does not fail.
        let _ = writeln!(out, "\ncontrol connections: {seen}{and_older}");
        if self.missed > 0 {
            let _ = writeln!(
                out,
                "changes of sockets that the kernel did not show: {} (docs/GUARD.md)",
                self.missed
            );
        }
        let _ = match self.listeners.len() {
            0 if older => writeln!(
                out,
                "\nno server listens for data, but for those that did before the guard"
            ),
            0 => writeln!(out, "\nno server listens for data"),
            _ => writeln!(out, "\nports guarded because a server listens on them:"),
        };
        for listener in &self.listeners {
            let Listener {
                port,
                outcome,
                client,
                waits,
            } = listener;
            let _ = match (client, waits) {
                (Some(client), true) => writeln!(out, "  {port:5} open to {client}"),
                (Some(client), false) => writeln!(out, "  {port:5} {client} has come"),
                (None, true) => writeln!(out, "  {port:5} open ({outcome})"),
                (None, false) if self.dry_run => {
                    writeln!(out, "  {port:5} would be shut ({outcome})")
                }
                (None, false) => writeln!(out, "  {port:5} shut ({outcome})"),
            };
        }
        out.push_str("\ndata ports by what became of them:\n");
        for (outcome, number) in &self.data_ports {
            let _ = writeln!(out, "  {outcome:22} {number:>12}");
        }
    }
}
