//! What is known of a daemon, for programs: as `pinhole status --help` has it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{CENTURY, Daemon, Guarded};

impl Daemon {
    pub(super) fn json(&self) -> Value {
        let pinholes: Vec<Value> = self
            .pinholes
            .iter()
            .map(|row| {
                json!({
                    "client": row.client,
                    "server": row.server,
                    "port": row.port,
                    "session": row.session,
                    "claimed_by": row.claimed_by,
                    "remaining_seconds": seconds(row.remaining),
                })
            })
            .collect();
        let verdicts: serde_json::Map<String, Value> = self
            .verdicts
            .iter()
            .map(|(reason, packets)| ((*reason).to_owned(), (*packets).into()))
            .collect();
        json!({
            "pid": self.pid,
            "pinned": self.pinned.as_ref().map(|folder| folder.display().to_string()),
            "pinholes": pinholes,
            "verdicts": verdicts,
            "guard": self.guard.as_ref().map(Guarded::json),
        })
    }
}

impl Guarded {
    fn json(&self) -> Value {
        let listeners: Vec<Value> = self
            .listeners
            .iter()
            .map(|listener| {
                json!({
                    "port": listener.port,
                    "outcome": listener.outcome,
                    "client": listener.client,
                    "waits": listener.waits,
                })
            })
            .collect();
        let data_ports: serde_json::Map<String, Value> = self
            .data_ports
            .iter()
            .map(|(outcome, number)| ((*outcome).to_owned(), (*number).into()))
            .collect();
        json!({
            "namespace": self.namespace,
            "dry_run": self.dry_run,
            "control_connections": self.controls.seen,
            "older_control_connections": self.controls.older,
            "missed": self.missed,
            "listeners": listeners,
            "data_ports": data_ports,
        })
    }
}

/// None where it is no deadline.
fn seconds(remaining: Duration) -> Option<f64> {
    (remaining < CENTURY).then_some(remaining.as_secs_f64())
}
