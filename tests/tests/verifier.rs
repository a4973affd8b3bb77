//! How hard the kernel's verifier has to work. It gives up at a million instructions followed, and
//! kernels differ in how many that are: a program that is close to it loads here and not there.

use anyhow::{Context, Result, ensure};
use aya::programs::ProgramInfo;
use ftp_ebpf::{abi::program, packet::LinkLayer};
use ftp_user::pinholes::kernel::{GuardSettings, Object, Settings, TraceSettings, TracedServer};

/// A fifth of the limit.
const MOST: u32 = 200_000;

#[test]
fn every_program_is_far_from_the_verifiers_limit() -> Result<()> {
    for debug in [false, true] {
        let mut object = Object::load(&Settings {
            debug,
            tell_all: debug,
            ..Settings::default()
        })?;
        let programs = [
            ("xdp", object.xdp()?.info()?),
            ("tcx", object.tcx(LinkLayer::Ethernet)?.info()?),
            ("tcx without Ethernet", object.tcx(LinkLayer::None)?.info()?),
            ("steer", object.steer()?.info()?),
        ];
        for (name, info) in programs {
            ensure_far(name, debug, &info)?;
        }
        let mut object = Object::load(&Settings {
            debug,
            tell_all: debug,
            guard: Some(GuardSettings::default()),
            ..Settings::default()
        })?;
        for name in [program::GUARD_STATE, program::GUARD_READ] {
            ensure_far(name, debug, &object.tracepoint(name)?.info()?)?;
        }
    }
    let mut object = Object::load_trace(&TraceSettings {
        server: Some(TracedServer::default()),
        ..TraceSettings::default()
    })?;
    for (name, ..) in program::TRACE.iter().chain(&program::TRACE_SERVER) {
        ensure_far(name, false, &object.tracepoint(name)?.info()?)?;
    }
    Ok(())
}

fn ensure_far(name: &str, debug: bool, info: &ProgramInfo) -> Result<()> {
    let followed = info
        .verified_instruction_count()
        .context("this kernel does not tell how many instructions it followed")?;
    println!("{name} (debug {debug}): {followed}");
    ensure!(
        followed < MOST,
        "{name} (debug {debug}) takes {followed} of a million"
    );
    Ok(())
}
