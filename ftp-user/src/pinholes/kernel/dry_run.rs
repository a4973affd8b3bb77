//! The loaded programs over a frame in memory, without any network: `BPF_PROG_TEST_RUN`. For
//! tests and for measuring what a verdict costs.

use std::time::Duration;

use aya::programs::{ProgramError, TestRun as _, TestRunOptions};
use ftp_ebpf::{abi::program, packet::LinkLayer};

use super::object::{Object, ObjectError};

/// Which lock to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// The XDP program.
    Xdp,
    /// The traffic-control program.
    Tcx,
}

/// What a lock did with a frame.
#[derive(Clone, Copy, Debug)]
pub struct DryRun {
    /// Whether the packet may go on.
    pub passed: bool,
    /// Mean time of one run, as the kernel measured it.
    pub duration: Duration,
}

/// `XDP_PASS`, and traffic control's "go on with the next program" (include/uapi/linux/).
const XDP_PASS: u32 = 2;
const TC_ACT_UNSPEC: u32 = u32::MAX;

impl Object {
    /// Runs a lock `repeat` times over `frame`, an Ethernet frame of at least 14 bytes.
    ///
    /// # Errors
    ///
    /// What the kernel refuses: frames shorter than an Ethernet header or longer than a page.
    pub fn dry_run(
        &mut self,
        lock: Lock,
        frame: &[u8],
        repeat: u32,
    ) -> Result<DryRun, ObjectError> {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat,
            ..Default::default()
        };
        let refused = |program| {
            move |source: ProgramError| ObjectError::Program {
                program,
                source: Box::new(source),
            }
        };
        let (result, pass) = match lock {
            Lock::Xdp => {
                let result = self
                    .xdp()?
                    .test_run(options)
                    .map_err(refused(program::XDP_ADMIT))?;
                (result, XDP_PASS)
            }
            Lock::Tcx => {
                let result = self
                    .tcx(LinkLayer::Ethernet)?
                    .test_run(options)
                    .map_err(refused(program::TCX_ADMIT))?;
                (result, TC_ACT_UNSPEC)
            }
        };
        Ok(DryRun {
            passed: result.return_value == pass,
            duration: result.duration,
        })
    }
}
