//! The guard's programs at their tracepoints.

use aya::programs::links::FdLink;

use super::super::{Object, StartError};

/// Attaches a program to a tracepoint of the `sock` group.
pub(super) fn attach(
    object: &mut Object,
    name: &'static str,
    event: &str,
) -> Result<FdLink, StartError> {
    let refused = |source| StartError::Tracepoint {
        event: format!("sock:{event}"),
        source: Box::new(source),
    };
    let program = object.tracepoint(name)?;
    let id = program.attach("sock", event).map_err(refused)?;
    let link = program.take_link(id).map_err(refused)?;
    FdLink::try_from(link).map_err(|source| StartError::TracepointLink {
        event: format!("sock:{event}"),
        source,
    })
}
