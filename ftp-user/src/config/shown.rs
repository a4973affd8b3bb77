//! How values are shown, to people and in JSON, that serde would show otherwise.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Serialize as _, Serializer};

/// As the file has it: "30s".
pub(super) fn duration<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

/// JSON is text: a path that is not is shown as well as can be, instead of failing all of it.
pub(super) fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

pub(super) fn optional_path<S: Serializer>(
    path: &Option<PathBuf>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let shown = path.as_ref().map(|path| path.display().to_string());
    shown.serialize(serializer)
}
