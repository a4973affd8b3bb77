//! The configuration a test gives the daemon, written as the TOML file an admin would write.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

/// The control port in a lab: the namespace is the test's own, so it may be the real one.
pub const CONTROL_PORT: u16 = 21;

/// A configuration under construction.
#[derive(Clone, Debug)]
pub struct Settings {
    table: Table,
}

impl Settings {
    /// Anonymous sessions below `root`, on port 21 of every address, passive ports 30000-30015.
    pub fn anonymous(root: &Path) -> Result<Settings> {
        Settings::bare()
            .set("listen", vec![format!("[::]:{CONTROL_PORT}")])?
            .set("passive.ports", "30000-30015")?
            .set("anonymous.root", utf8(root)?)
    }

    /// Password users of `file` beside what there is.
    pub fn users(self, file: &Path) -> Result<Settings> {
        self.set("users", utf8(file)?)
    }

    /// Listens on exactly these addresses.
    pub fn listen(self, addresses: &[SocketAddr]) -> Result<Settings> {
        let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        self.set("listen", addresses)
    }

    /// Sets an option by its dotted name, as the documentation calls it: `enforce.attach`.
    pub fn set(mut self, name: &str, value: impl Into<Value>) -> Result<Settings> {
        let (tables, key) = name.rsplit_once('.').unwrap_or(("", name));
        let mut table = &mut self.table;
        for part in tables.split('.').filter(|part| !part.is_empty()) {
            let entry = table
                .entry(part)
                .or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = entry else {
                bail!("{part} in {name} is not a table");
            };
            table = inner;
        }
        table.insert(key.to_owned(), value.into());
        Ok(self)
    }

    /// The file's text.
    pub fn text(&self) -> String {
        self.table.to_string()
    }

    fn bare() -> Settings {
        Settings {
            table: Table::new(),
        }
    }
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_names_become_tables() {
        let text = Settings::anonymous(Path::new("/srv"))
            .and_then(|s| s.set("enforce.attach", "tcx"))
            .and_then(|s| s.set("enforce.mark", 7))
            .unwrap()
            .text();
        let back: Table = text.parse().unwrap();
        assert_eq!(back["enforce"]["attach"].as_str(), Some("tcx"));
        assert_eq!(back["enforce"]["mark"].as_integer(), Some(7));
        assert_eq!(back["anonymous"]["root"].as_str(), Some("/srv"));
    }
}
