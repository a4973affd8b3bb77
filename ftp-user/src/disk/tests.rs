//! Which thread does the work, and who is held up when it hangs.

use super::*;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A socket's end for a task of this runtime, and the other.
fn pair() -> (tokio::net::UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    (tokio::net::UnixStream::from_std(ours).unwrap(), theirs)
}

#[test]
fn work_that_hangs_holds_up_nobody_else() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(3).enable_all().build().unwrap();
    rescue(runtime.handle().clone()).unwrap();
    let inside = runtime.enter();
    let (begun, hangs) = mpsc::channel();
    let (go_on, told) = mpsc::channel::<()>();
    let (mut from, mut to) = pair();
    runtime.spawn(async move {
        // What a worker does that has just been woken by a socket.
        from.read_u8().await.unwrap();
        let work = move || {
            begun.send(()).unwrap();
            told.recv()
        };
        run(false, work).await.unwrap().unwrap_err();
    });
    let (mut asked, mut ask) = pair();
    runtime.spawn(async move {
        let byte = asked.read_u8().await.unwrap();
        asked.write_u8(byte).await.unwrap();
    });
    to.write_all(b"x").unwrap();
    hangs.recv().unwrap();
    ask.write_all(b"y").unwrap();
    let answered = ask.read_exact(&mut [0]);
    drop((go_on, inside));
    answered.unwrap();
}

#[test]
fn one_worker_stays_free() {
    let workers = Workers::default();
    let first = workers.enter(3).unwrap();
    let second = workers.enter(3).unwrap();
    assert!(workers.enter(3).is_none());
    drop(first);
    let third = workers.enter(3).unwrap();
    drop((second, third));
    assert!(workers.enter(1).is_none());
    assert!(workers.enter(2).is_some());
}

#[test]
fn after_work_that_slept_nobody_tries_for_a_while() {
    let mut workers = Workers::default();
    let visit = workers.enter(2).unwrap();
    thread::sleep(2 * SLOW);
    drop(visit);
    assert!(workers.enter(2).is_none());
    // As if the time had passed.
    workers.epoch = workers.epoch.checked_sub(REST + SLOW).unwrap();
    assert!(workers.enter(2).is_some());
}

#[test]
fn work_that_only_took_long_changes_nothing() {
    let workers = Workers::default();
    let visit = workers.enter(2).unwrap();
    let started = Instant::now();
    while started.elapsed() < 2 * SLOW {
        std::hint::spin_loop();
    }
    drop(visit);
    assert!(workers.enter(2).is_some());
}

#[test]
fn whichever_thread_it_is_the_work_is_done() {
    let one = tokio::runtime::Builder::new_current_thread();
    let mut two = tokio::runtime::Builder::new_multi_thread();
    two.worker_threads(2);
    for mut runtime in [one, two] {
        let runtime = runtime.build().unwrap();
        let (worker, done_by) = runtime
            .block_on(async {
                tokio::spawn(async {
                    let by = run(false, || thread::current().id()).await;
                    (thread::current().id(), by.unwrap())
                })
                .await
            })
            .unwrap();
        let alone = runtime.metrics().num_workers() == 1;
        assert_eq!(worker != done_by, alone);
    }
}
