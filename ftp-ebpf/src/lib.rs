//! What Pinhole decides about a packet, and the memory it shares with the kernel.
//!
//! This half is pure: no eBPF helper, no allocation, no clock. The kernel programs
//! (`main.rs` and one file per attach point) run it over real packets and maps; tests run the
//! same code over byte slices and an in-memory [`World`](decide::World).
//!
//! * [`abi`]: layout of every map key and value, once for both sides.
//! * [`packet`]: from a frame to the fields that decide, bounded and total.
//! * [`decide`]: from those fields and what the maps say to a [`Reason`](reason::Reason).
//! * [`guard`]: whose data connection a socket waits for that starts to listen.
//! * [`timeline`]: what becomes of a data connection, step by step, for `pinhole trace`.
//! * [`reason`]: every outcome there is, its action and its counter.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod abi;
pub mod decide;
pub mod guard;
pub mod packet;
pub mod reason;
pub mod timeline;
