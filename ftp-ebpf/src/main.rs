//! The eBPF object: maps, and one thin program per attach point. Nothing is decided here; see
//! `decide.rs`.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![expect(
    internal_features,
    reason = "the only way to a compare-and-swap on this target"
)]

mod atomic;
mod control_connections;
mod data_ports;
mod frame;
mod guard_maps;
mod maps;
mod report;
mod shared_ports;
mod sk_lookup;
mod sockets;
mod tcx;
mod trace;
mod trace_maps;
mod tracepoints;
mod world;
mod xdp;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: the verifier would refuse an object in which it could be.
    loop {}
}

/// Some helpers are reserved to programs under a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
