//! What a transfer could be at most on this machine: the benchmark's own client against a thread that does nothing
//! but move bytes, without FTP.

use std::{
    fs::File,
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::client::{Data, Source};

/// Moves `each` bytes of the file over each of so many connections on loopback at once, from the thread to the
/// client or, for an upload, to the thread; the time until the last is done. The receiver throws them away inside
/// the kernel, the sender sends by sendfile(2). To be called on a thread inside a network namespace.
pub(super) fn plain(file: &File, each: u64, streams: usize, upload: bool) -> Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
    let address = listener.local_addr()?;
    let mut pairs = Vec::new();
    for _ in 0..streams {
        let client = TcpStream::connect(address)?;
        let (server, _) = listener.accept()?;
        pairs.push(match upload {
            true => (client, server),
            false => (server, client),
        });
    }
    let began = Instant::now();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (sender, receiver) in pairs {
            threads.push(scope.spawn(move || {
                let last = sender.try_clone()?;
                Data::plain(sender).send(Source::File(file, each))?;
                Ok(last.shutdown(Shutdown::Write)?)
            }));
            threads.push(scope.spawn(move || {
                let received = Data::plain(receiver).discard(&mut Vec::new())?;
                ensure!(received == each, "{received} bytes came of {each}");
                Ok(())
            }));
        }
        threads.into_iter().try_for_each(|thread| {
            let done: Result<()> = thread.join().map_err(|_| anyhow!("a thread panicked"))?;
            done
        })
    })?;
    Ok(began.elapsed())
}
