//! What lies in maps and ring buffers has no padding: every byte is initialised, and may be hashed,
//! compared and copied as it is. Its sizes are checked here, where userspace is promised as much.

use super::{
    Address, Data, DataPort, Event, Layout, Opening, Pinhole, PinholeKey, Ports, Transfer, Tuple,
};

const _: () = {
    assert!(size_of::<Address>() == 16);
    assert!(size_of::<Tuple>() == 36);
    assert!(size_of::<PinholeKey>() == 36);
    assert!(size_of::<Pinhole>() == 24);
    assert!(size_of::<Ports>() == 8 + 2 * 8192);
    assert!(size_of::<Event>() == 64);
    assert!(size_of::<Layout>() == 20 * 4);
    assert!(size_of::<Data>() == 48);
    assert!(size_of::<DataPort>() == 20);
    assert!(size_of::<Opening>() == 56);
    assert!(size_of::<Transfer>() == 104);
};

/// aya copies these to and from the kernel byte by byte, and takes them out of ring buffers so.
#[cfg(feature = "user")]
mod user {
    use super::{
        Address, Data, DataPort, Layout, Opening, Pinhole, PinholeKey, Ports, Transfer, Tuple,
    };

    // SAFETY: repr(C), integers only, and no padding (asserted above), so every byte is
    // initialised and every bit pattern is a value.
    unsafe impl aya::Pod for Address {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Tuple {}
    // SAFETY: as above.
    unsafe impl aya::Pod for PinholeKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Pinhole {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Ports {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Layout {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Data {}
    // SAFETY: as above.
    unsafe impl aya::Pod for DataPort {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Opening {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Transfer {}
}
