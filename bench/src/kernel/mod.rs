//! The kernel programs of the benchmark itself, which have no place in the product's object: programs that do
//! nothing, to compare with, and the generator of floods. They are short enough to be written as instructions.

pub(crate) mod bpf;
pub(crate) mod flood;
mod instruction;
pub(crate) mod link;
mod port_filter;
pub(crate) mod statistics;

pub(crate) use self::bpf::{Hook, Program};
