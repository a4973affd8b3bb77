//! What is logged beside the level, which is a flag's.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Log {
    /// Of standard error.
    pub format: LogFormat,
    /// A file with a line for each transfer, as wu-ftpd has it.
    #[serde(serialize_with = "super::shown::optional_path")]
    pub xferlog: Option<PathBuf>,
}

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object on each line.
    Json,
}
