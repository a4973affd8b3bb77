//! One table leaves its pinholes to another, as at a restart.

use super::super::super::{estate::Row, predecessor};
use super::*;
use crate::channel::Channel;

/// Two tables, as two processes have them, the first of which is about to leave to the second.
struct Handover {
    old: Arc<Table>,
    old_store: Shared,
    new: Arc<Table>,
    new_store: Shared,
}

impl Handover {
    fn new(ports: &str) -> Handover {
        let (old, old_store) = table(ports, PATIENT);
        let (new, new_store) = table(ports, PATIENT);
        Handover {
            old,
            old_store,
            new,
            new_store,
        }
    }

    /// The second takes over; the end of the channel ends its service.
    fn settle(&self, rows: &[Row]) -> (tokio::task::JoinHandle<()>, tokio::task::JoinHandle<()>) {
        let adopted = rows
            .iter()
            .map(|row| (row.id, self.new.adopt(row).unwrap()));
        let adopted = adopted.collect();
        let (here, there) = Channel::pair().unwrap();
        let (here, there) = (Channel::new(here).unwrap(), Channel::new(there).unwrap());
        let old = tokio::spawn(self.old.hand(Arc::new(here)));
        let table = Arc::clone(&self.new);
        let serve = async move { predecessor::serve(&there, &table, adopted).await };
        (old, tokio::spawn(serve))
    }

    async fn until_new_has(&self, rows: usize) {
        while self.new_store.0.lock().unwrap().rows.len() != rows {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn pinholes_that_wait_go_on_in_the_process_that_takes_over() {
    let pair = Handover::new("40000-40009");
    let mut hole = pair.old.open(7, CLIENT, SERVER, None).await.unwrap();
    let given_up = pair.old.open(8, CLIENT, SERVER, None).await.unwrap();
    let rows = pair.old.leave();
    assert_eq!(rows.len(), 2);
    // Closed while the other one learns of it.
    drop(given_up);
    let late = {
        let old = Arc::clone(&pair.old);
        tokio::spawn(async move { old.open(9, OTHER, SERVER, None).await })
    };
    tokio::task::yield_now().await;
    assert_eq!(
        pair.old_store.0.lock().unwrap().rows.len(),
        1,
        "none is opened"
    );
    let (_old, _new) = pair.settle(&rows);

    let mut late = late.await.unwrap().unwrap();
    pair.until_new_has(2).await;
    assert_eq!(
        pair.new_store
            .0
            .lock()
            .unwrap()
            .rows
            .values()
            .map(|row| row.session)
            .max(),
        Some(9)
    );
    for (hole, client) in [(&mut hole, CLIENT), (&mut late, OTHER)] {
        let sent = connection();
        let address = sent.local_addr().unwrap();
        let tuple = tuple(client, hole.port());
        pair.new.deliver(&tuple, sent).unwrap();
        assert_eq!(hole.accept().await.unwrap().local_addr().unwrap(), address);
    }
    pair.until_new_has(0).await;
    // The old one's own ports stay within what its account may use.
    let ports = "40003".parse().unwrap();
    let one = pair
        .old
        .open(10, CLIENT, SERVER, Some(&ports))
        .await
        .unwrap();
    assert_eq!(one.port(), 40003);
    drop(one);
    pair.until_new_has(0).await;
    assert!(pair.new_store.0.lock().unwrap().waiting.is_empty());
}

#[tokio::test]
async fn pinholes_of_a_process_that_ends_are_gone() {
    let pair = Handover::new("40000-40009");
    let _hole = pair.old.open(7, CLIENT, SERVER, None).await.unwrap();
    let rows = pair.old.leave();
    let (old, new) = pair.settle(&rows);
    let _second = pair.old.open(7, CLIENT, SERVER, None).await.unwrap();
    let own = pair.new.open(20, CLIENT, SERVER, None).await.unwrap();
    assert_eq!(pair.new_store.0.lock().unwrap().rows.len(), 3);
    // As it is when the process is killed: nothing is said any more.
    old.abort();
    new.await.unwrap();
    pair.until_new_has(1).await;
    assert_eq!(
        pair.new_store
            .0
            .lock()
            .unwrap()
            .rows
            .keys()
            .map(|key| key.port_be)
            .next(),
        Some(own.port().to_be())
    );
}

#[tokio::test]
async fn whoever_has_taken_over_and_ended_leaves_a_clear_error() {
    let pair = Handover::new("40000-40009");
    let mut hole = pair.old.open(7, CLIENT, SERVER, None).await.unwrap();
    let rows = pair.old.leave();
    let (old, new) = pair.settle(&rows);
    new.abort();
    old.await.unwrap();
    assert!(matches!(hole.accept().await, Err(AcceptError::Deadline(_))));
    let refused = pair.old.open(8, CLIENT, SERVER, None).await;
    assert!(
        matches!(refused, Err(OpenError::Successor(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_was_not_taken_over_goes_on_as_before() {
    let pair = Handover::new("40000-40009");
    let mut hole = pair.old.open(7, CLIENT, SERVER, None).await.unwrap();
    pair.old.leave();
    let late = {
        let old = Arc::clone(&pair.old);
        tokio::spawn(async move { old.open(9, OTHER, SERVER, None).await })
    };
    tokio::task::yield_now().await;
    pair.old.stay();
    late.await.unwrap().unwrap();
    let tuple = tuple(CLIENT, hole.port());
    pair.old.deliver(&tuple, connection()).unwrap();
    hole.accept().await.unwrap();
    assert!(pair.old_store.0.lock().unwrap().rows.is_empty());
}
