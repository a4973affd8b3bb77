//! libnftables in this process, as a daemon would use it that opens ports by nftables: libnftables(3). Loaded where
//! it is, so that nobody needs it to build.

use std::{
    ffi::{CString, c_char, c_int, c_void},
    ptr::NonNull,
};

use anyhow::{Context as _, Result, ensure};
use libloading::Library;

type Context = c_void;

/// A context of libnftables, for the network namespace of the thread that uses it.
pub(crate) struct Nftables {
    context: NonNull<Context>,
    free: unsafe extern "C" fn(*mut Context),
    run: unsafe extern "C" fn(*mut Context, *const c_char) -> c_int,
    // After the function pointers, which point into it.
    _library: Library,
}

impl Nftables {
    pub(crate) fn new() -> Result<Self> {
        type New = unsafe extern "C" fn(u32) -> *mut Context;
        type Buffer = unsafe extern "C" fn(*mut Context) -> c_int;
        // SAFETY: a system library whose initialisation does nothing that matters here; the types are those
        // of <nftables/libnftables.h>, and the functions live as long as the library, which `Self` holds.
        unsafe {
            let library = Library::new("libnftables.so.1").context("libnftables is not there")?;
            let new = *library.get::<New>(b"nft_ctx_new\0")?;
            let free = *library.get::<unsafe extern "C" fn(*mut Context)>(b"nft_ctx_free\0")?;
            let run = *library.get::<unsafe extern "C" fn(*mut Context, *const c_char) -> c_int>(
                b"nft_run_cmd_from_buffer\0",
            )?;
            let buffer_error = *library.get::<Buffer>(b"nft_ctx_buffer_error\0")?;
            let context = NonNull::new(new(0)).context("nft_ctx_new found no memory")?;
            // Errors are counted, not printed.
            buffer_error(context.as_ptr());
            Ok(Self {
                context,
                free,
                run,
                _library: library,
            })
        }
    }

    /// Runs a command as `nft` would.
    pub(crate) fn run(&self, command: &str) -> Result<()> {
        let text = CString::new(command).context("a command with a zero in it")?;
        // SAFETY: the context is alive, and the text ends with a zero.
        let result = unsafe { (self.run)(self.context.as_ptr(), text.as_ptr()) };
        ensure!(result == 0, "libnftables refuses {command}");
        Ok(())
    }
}

impl Drop for Nftables {
    fn drop(&mut self) {
        // SAFETY: nobody else has the context, and the library is dropped after this.
        unsafe { (self.free)(self.context.as_ptr()) };
    }
}
