//! The generator of floods: an XDP program that the kernel runs over frames that are real
//! (BPF_PROG_TEST_RUN with live frames), gives each a random source and port, and sends it out of an
//! interface; as fast as one core can, or at a rate, by waiting inside the program.

use std::{net::Ipv4Addr, thread, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use ftp_tests::frame::{Flags, Mac, Segment};

use super::{
    bpf::{Cell, Hook, Program},
    instruction::{
        Helper, Instruction, R0, R1, R2, R3, R6, R7, R8, R9, add, add_register, and, call, copy,
        exit, load_32, load_64, map_value, set, shift_right, skip, skip_if_at_least,
        skip_if_greater, skip_unless, store_16, store_64, subtract_register, to_network_16,
    },
    link::pin,
};

/// What is sent.
#[derive(Clone, Copy)]
pub(crate) struct Flood {
    pub(crate) flags: Flags,
    /// Destination.
    pub(crate) to: Ipv4Addr,
    pub(crate) first_port: u16,
    /// How many ports from there, a power of two.
    pub(crate) ports: u16,
    /// Packets per second; as many as can be if `None`.
    pub(crate) rate: Option<u32>,
}

/// Sources are `32.1.0.0` and up, 16,384 of them; 16,384 source ports.
const SOURCE_HIGH: u16 = 0x6000;
const SOURCE_LOW: u16 = 0x0101;
const SOURCE_PORT: u16 = 2048;
const SEQUENCE: u16 = 0x8000;
const RANDOM: i32 = 0x3fff;

/// How far behind its rate it may fall and still make up for it.
const LAG: Duration = Duration::from_millis(100);
/// Looks at the clock before a packet goes in any case: the verifier follows each. About 60 µs.
const WAITS: i32 = 2000;

/// A loaded generator.
pub(crate) struct Generator {
    program: Program,
    frame: Vec<u8>,
    rate: Option<u32>,
    /// Not 0: enough.
    stop: Cell,
    /// Packets so far.
    sent: Cell,
    /// When the next packet is due; the program holds a reference of its own.
    _due: Option<Cell>,
}

impl Generator {
    /// Loads it for an interface, by its index in the namespace that it will run in.
    pub(crate) fn load(
        flood: Flood,
        interface: u32,
        source: Mac,
        destination: Mac,
    ) -> Result<Self> {
        let [a, b] = SOURCE_HIGH.to_be_bytes();
        let [c, d] = SOURCE_LOW.to_be_bytes();
        let frame = Segment {
            from: (Ipv4Addr::new(a, b, c, d), SOURCE_PORT).into(),
            to: (flood.to, flood.first_port).into(),
            flags: flood.flags,
            seq: u32::from(SEQUENCE) << 16 | u32::from(SEQUENCE),
            ack: 0,
        }
        .frame(source, destination)?;
        let due = flood.rate.map(|_| Cell::new()).transpose();
        let due = due.context("cannot make the generator's map")?;
        let stop = Cell::new().context("cannot make the generator's map")?;
        let sent = Cell::new().context("cannot make the generator's map")?;
        let mut instructions = stop_if_told(stop.fd());
        if let (Some(rate), Some(due)) = (flood.rate, &due) {
            let interval = 1_000_000_000 / i32::try_from(rate.max(1)).unwrap_or(i32::MAX);
            instructions.extend(wait(interval, due.fd()));
        }
        instructions.extend(count(sent.fd()));
        instructions.extend(send(flood, interface));
        let program =
            Program::load(Hook::Xdp, &instructions).context("the kernel refuses the generator")?;
        Ok(Self {
            program,
            frame,
            rate: flood.rate,
            stop,
            sent,
            _due: due,
        })
    }

    /// Does `work` while packets are sent by a thread on that core; both in the calling thread's network
    /// namespace, which must be the interface's.
    pub(crate) fn during<T>(&self, core: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let thread = rustix::thread::gettid().as_raw_nonzero().get();
                pin(thread.cast_unsigned(), core)?;
                self.send()
            });
            let ending = Ending(self);
            let done = work();
            drop(ending);
            let sent = sender.join();
            sent.map_err(|_| anyhow!("the sender's thread panicked"))??;
            done
        })
    }

    /// Sends on the calling thread, which must be in the interface's network namespace, until another thread
    /// calls [`Generator::stop`].
    fn send(&self) -> Result<()> {
        // Each call ends in a grace period of RCU, some 20 ms without packets, so that there should be few;
        // what is left of one when it is told to stop costs little, but not nothing.
        let packets = self.rate.unwrap_or(4_000_000);
        while self.stop.get().context("cannot read the generator's map")? == 0 {
            let sent = self.program.run_live(&self.frame, packets);
            sent.context("BPF_PROG_TEST_RUN with live frames")?;
        }
        Ok(())
    }

    /// Packets that it has sent so far, whether or not there was room for them in the receiver's ring.
    pub(crate) fn sent(&self) -> Result<u64> {
        self.sent.get().context("cannot read the generator's map")
    }

    /// Ends it.
    fn stop(&self) -> Result<()> {
        self.stop.set(1).context("cannot write the generator's map")
    }
}

/// Ends a generator when dropped, by a panic of what is measured too: its sender, which the scope waits
/// for, would send for ever.
struct Ending<'a>(&'a Generator);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.stop() {
            eprintln!("error: the flood goes on: {error:#}");
        }
    }
}

/// Drops what is not to be sent any more. Keeps the context in r6.
fn stop_if_told(stop: i32) -> Vec<Instruction> {
    let mut code = vec![copy(R6, R1)];
    code.extend(map_value(R9, stop));
    code.extend([
        load_64(R9, R9, 0),
        skip_unless(R9, 0, 1),
        skip(2),
        set(R0, 1),
        exit(),
    ]);
    code
}

/// Waits until the next packet is due.
fn wait(interval: i32, due: i32) -> Vec<Instruction> {
    let lag = i32::try_from(LAG.as_nanos()).unwrap_or(i32::MAX);
    let mut code = map_value(R9, due).to_vec();
    code.extend([
        // r8: when it is due; the first one now.
        load_64(R8, R9, 0),
        call(Helper::KtimeGetNs),
        skip_unless(R8, 0, 1),
        copy(R8, R0),
        // Too late to make up for: from LAG before now on.
        copy(R1, R0),
        set(R2, lag),
        subtract_register(R1, R2),
        skip_if_at_least(R8, R1, 1),
        copy(R8, R1),
        copy(R1, R8),
        add(R1, interval),
        store_64(R9, 0, R1),
        // r7 counts looks at the clock.
        set(R7, WAITS),
        call(Helper::KtimeGetNs),
        skip_if_at_least(R0, R8, 2),
        add(R7, -1),
        skip_unless(R7, 0, -4),
    ]);
    code
}

/// Counts a packet. Only one core sends.
fn count(sent: i32) -> Vec<Instruction> {
    let mut code = map_value(R9, sent).to_vec();
    code.extend([load_64(R1, R9, 0), add(R1, 1), store_64(R9, 0, R1)]);
    code
}

/// Fills in what is random and sends. What is added in one place is taken away in another that the same
/// checksums cover, so that they stay right: in the source address from its high half, from the sequence
/// number for both ports.
fn send(flood: Flood, interface: u32) -> Vec<Instruction> {
    // Offsets in Ethernet, IPv4 without options and TCP.
    const SOURCE: i16 = 26;
    const PORTS: i16 = 34;
    const SEQ: i16 = 38;
    let random = |bits: i32, mask: i32| [copy(R1, R8), shift_right(R1, bits), and(R1, mask)];
    let plus = |base: u16, offset: i16| {
        [
            set(R2, i32::from(base)),
            add_register(R2, R1),
            to_network_16(R2),
            store_16(R7, offset, R2),
        ]
    };
    let minus = |base: u16, offset: i16| {
        [
            set(R2, i32::from(base)),
            subtract_register(R2, R1),
            to_network_16(R2),
            store_16(R7, offset, R2),
        ]
    };
    let mut code = vec![
        // struct xdp_md: data, data_end.
        load_32(R7, R6, 0),
        load_32(R3, R6, 4),
        copy(R2, R7),
        add(R2, 54),
    ];
    let mut body = vec![call(Helper::GetPrandomU32), copy(R8, R0)];
    body.extend(random(0, RANDOM));
    body.extend(minus(SOURCE_HIGH, SOURCE));
    body.extend(plus(SOURCE_LOW, SOURCE + 2));
    body.extend(random(14, RANDOM));
    body.extend(plus(SOURCE_PORT, PORTS));
    body.extend(minus(SEQUENCE, SEQ));
    body.extend([call(Helper::GetPrandomU32), copy(R8, R0)]);
    body.extend(random(0, i32::from(flood.ports) - 1));
    body.extend(plus(flood.first_port, PORTS + 2));
    body.extend(minus(SEQUENCE, SEQ + 2));
    body.extend([
        set(R1, interface.cast_signed()),
        set(R2, 0),
        call(Helper::Redirect),
        exit(),
    ]);
    let length = i16::try_from(body.len()).unwrap_or(i16::MAX);
    code.push(skip_if_greater(R2, R3, length));
    code.extend(body);
    // A frame too short to fill in: XDP_DROP.
    code.extend([set(R0, 1), exit()]);
    code
}
