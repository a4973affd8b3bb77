//! The table against a kernel that is plain memory.

use std::{collections::HashSet, net::TcpListener, sync::mpsc};

mod arrivals;

use super::super::{estate::Row, predecessor};
use super::*;
use crate::{channel::Channel, pinholes::AcceptError};

#[derive(Default)]
struct Memory {
    rows: HashMap<PinholeKey, Pinhole>,
    waiting: HashSet<u16>,
    full: bool,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Memory>>);

impl Store for Shared {
    fn insert(&mut self, key: &PinholeKey, row: &Pinhole) -> io::Result<()> {
        let mut memory = self.0.lock().unwrap();
        if memory.full {
            return Err(io::Error::from_raw_os_error(libc::E2BIG));
        }
        assert!(
            memory.rows.insert(*key, *row).is_none(),
            "a row was opened twice"
        );
        Ok(())
    }

    fn remove(&mut self, key: &PinholeKey) -> io::Result<()> {
        self.0.lock().unwrap().rows.remove(key);
        Ok(())
    }

    fn claim(&self, key: &PinholeKey) -> Claim {
        self.0.lock().unwrap().rows[key].claim
    }

    fn set_waiting(&mut self, port: u16, waiting: bool) {
        let mut memory = self.0.lock().unwrap();
        let changed = if waiting {
            memory.waiting.insert(port)
        } else {
            memory.waiting.remove(&port)
        };
        assert!(
            changed,
            "port {port} was said to be waiting={waiting} twice"
        );
    }
}

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 99));

fn table(ports: &str, timing: Timing) -> (Arc<Table>, Shared) {
    let store = Shared::default();
    let ports = ports.parse().unwrap();
    let ephemeral = "32768-60999".parse().ok();
    (
        Table::new(
            ports,
            ephemeral,
            ClientMask::EXACT,
            timing,
            Box::new(store.clone()),
        ),
        store,
    )
}

const PATIENT: Timing = Timing {
    connect: Duration::from_secs(3600),
    port: Duration::from_secs(60),
};

fn connection() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    TcpStream::connect(listener.local_addr().unwrap()).unwrap()
}

fn tuple(client: IpAddr, port: u16) -> Tuple {
    Tuple {
        client: client.into(),
        server: SERVER.into(),
        client_port_be: 1234_u16.to_be(),
        server_port_be: port.to_be(),
    }
}

#[tokio::test]
async fn a_pinhole_is_in_the_kernel_when_open_returns_and_gone_when_dropped() {
    let (table, store) = table("40000-40001", PATIENT);
    let hole = table.open(7, CLIENT, SERVER, None).await.unwrap();
    {
        let memory = store.0.lock().unwrap();
        assert_eq!(memory.rows.len(), 1);
        let (key, row) = memory.rows.iter().next().unwrap();
        assert_eq!((key.port_be, row.session), (hole.port().to_be(), 7));
        assert!(memory.waiting.contains(&hole.port()));
    }
    drop(hole);
    let memory = store.0.lock().unwrap();
    assert!(memory.rows.is_empty() && memory.waiting.is_empty());
    assert!(table.lock().clients.is_empty() && table.lock().per_port.is_empty());
}

#[tokio::test]
async fn the_connection_reaches_its_session_and_takes_the_row_with_it() {
    let (table, store) = table("40000", PATIENT);
    let mut hole = table.open(1, CLIENT, SERVER, None).await.unwrap();
    let mut others = table.open(2, OTHER, SERVER, None).await.unwrap();
    assert_eq!(hole.port(), others.port(), "one port serves both clients");

    let sent = connection();
    let address = sent.local_addr().unwrap();
    table.deliver(&tuple(CLIENT, 40000), sent).unwrap();
    assert_eq!(
        store.0.lock().unwrap().rows.len(),
        1,
        "gone before anybody asked for it"
    );
    assert_eq!(hole.accept().await.unwrap().local_addr().unwrap(), address);

    assert!(
        table.deliver(&tuple(CLIENT, 40000), connection()).is_err(),
        "one shot"
    );
    assert!(
        store.0.lock().unwrap().waiting.contains(&40000),
        "the other client still waits"
    );
    table.deliver(&tuple(OTHER, 40000), connection()).unwrap();
    others.accept().await.unwrap();
    assert!(store.0.lock().unwrap().waiting.is_empty());
}

#[tokio::test]
async fn dropping_an_accepted_pinhole_leaves_its_successor_alone() {
    let (table, store) = table("40000", PATIENT);
    let first = table.open(1, CLIENT, SERVER, None).await.unwrap();
    table.deliver(&tuple(CLIENT, 40000), connection()).unwrap();
    let second = table.open(1, CLIENT, SERVER, None).await.unwrap();
    drop(first);
    assert_eq!(store.0.lock().unwrap().rows.len(), 1);
    drop(second);
    assert_eq!(store.0.lock().unwrap().rows.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn clients_behind_one_address_take_turns() {
    let (table, _store) = table("40000-40001", PATIENT);
    let first = table.open(1, CLIENT, SERVER, None).await.unwrap();
    let second = table.open(2, CLIENT, SERVER, None).await.unwrap();
    assert_ne!(first.port(), second.port());

    let (order, seen) = mpsc::channel();
    let tasks: Vec<_> = (3..6)
        .map(|session| {
            let (table, order) = (Arc::clone(&table), order.clone());
            tokio::spawn(async move {
                let hole = table.open(session, CLIENT, SERVER, None).await.unwrap();
                order.send(session).unwrap();
                drop(hole);
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(seen.try_recv().is_err(), "no port is free yet");
    drop(first);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [3, 4, 5]);
    drop(second);
    assert!(table.lock().clients.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_holds_every_port_is_told_so_after_a_while() {
    let (table, _store) = table("40000", PATIENT);
    let _held = table.open(1, CLIENT, SERVER, None).await.unwrap();
    let refused = table.open(2, CLIENT, SERVER, None).await;
    assert!(matches!(refused, Err(OpenError::NoPort(_))));
    table.open(3, OTHER, SERVER, None).await.unwrap();
}

#[tokio::test]
async fn a_row_that_cannot_be_written_leaves_nothing_behind() {
    let (table, store) = table("40000", PATIENT);
    store.0.lock().unwrap().full = true;
    let refused = table.open(1, CLIENT, SERVER, None).await.map(|_| ());
    let Err(OpenError::Kernel {
        port: 40000,
        source,
    }) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(source.raw_os_error(), Some(libc::E2BIG));
    store.0.lock().unwrap().full = false;
    table.open(1, CLIENT, SERVER, None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_deadline_closes_a_pinhole() {
    let short = Timing {
        connect: Duration::from_secs(30),
        port: Duration::from_secs(1),
    };
    let (table, store) = table("40000-40009", short);
    let mut hole = table.open(1, CLIENT, SERVER, None).await.unwrap();
    table.sweep(Instant::now());
    assert_eq!(store.0.lock().unwrap().rows.len(), 1);
    assert!(matches!(hole.accept().await, Err(AcceptError::Deadline(_))));
    table.sweep(Instant::now());
    assert!(store.0.lock().unwrap().rows.is_empty());
    assert!(table.lock().deadlines.is_empty());
}

/// Sessions that open and give up against connections that arrive: whatever the order, nothing
/// is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn opening_and_delivering_at_once_leaves_an_empty_table() {
    let (table, store) = table("40000-40003", PATIENT);
    let sessions: Vec<_> = (0..32_u8)
        .map(|session| {
            let table = Arc::clone(&table);
            let client = IpAddr::from([198, 51, 100, session]);
            tokio::spawn(async move {
                for round in 0..50 {
                    let mut hole = table
                        .open(session.into(), client, SERVER, None)
                        .await
                        .unwrap();
                    let port = hole.port();
                    if round % 3 == 0 {
                        continue;
                    }
                    let to = Arc::clone(&table);
                    let delivery = tokio::task::spawn_blocking(move || {
                        to.deliver(&tuple(client, port), connection())
                    });
                    if round % 3 == 1 {
                        delivery.await.unwrap().unwrap();
                        hole.accept().await.unwrap();
                    } else {
                        drop(hole);
                        let _ = delivery.await.unwrap();
                    }
                }
            })
        })
        .collect();
    for session in sessions {
        session.await.unwrap();
    }
    let memory = store.0.lock().unwrap();
    assert!(memory.rows.is_empty() && memory.waiting.is_empty());
    assert!(table.lock().clients.is_empty());
}

#[tokio::test(start_paused = true)]
async fn some_ports_are_waited_for_while_others_are_free() {
    let (table, _) = table("30000-30001", PATIENT);
    let some: PortSet = "30000".parse().unwrap();
    let first = table.open(1, CLIENT, SERVER, Some(&some)).await.unwrap();
    assert_eq!(first.port(), 30000);
    let refused = table.open(2, CLIENT, SERVER, Some(&some)).await;
    assert!(matches!(refused, Err(OpenError::NoPort(_))));
    let other = table.open(3, OTHER, SERVER, Some(&some)).await.unwrap();
    assert_eq!(other.port(), 30000);
    let (second, ()) = tokio::join!(table.open(4, CLIENT, SERVER, Some(&some)), async {
        tokio::task::yield_now().await;
        drop(first);
    });
    assert_eq!(second.unwrap().port(), 30000);
}

#[tokio::test]
async fn a_client_on_our_own_address_does_not_get_a_port_that_its_end_might_have() {
    let (table, _) = table("30000,32768-50000", PATIENT);
    let local = table.open(1, SERVER, SERVER, None).await.unwrap();
    assert_eq!(local.port(), 30000);
    // Where there is no other, it has to do.
    let few = "40000".parse().unwrap();
    let local = table.open(1, SERVER, SERVER, Some(&few)).await.unwrap();
    assert_eq!(local.port(), 40000);
}

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

#[tokio::test]
async fn a_port_that_was_given_up_is_another_pinholes_only_where_there_is_no_other() {
    let (table, _) = table("40000-40001", PATIENT);
    let first = table.open(1, CLIENT, SERVER, None).await.unwrap();
    let port = first.port();
    drop(first);
    for _ in 0..20 {
        let other = table.open(1, CLIENT, SERVER, None).await.unwrap();
        assert_ne!(other.port(), port);
        let tuple = tuple(CLIENT, other.port());
        table.deliver(&tuple, connection()).unwrap();
        drop(other);
    }
    let other = table.open(1, CLIENT, SERVER, None).await.unwrap();
    let none_else = table.open(1, CLIENT, SERVER, None).await.unwrap();
    assert_eq!((other.port() != port, none_else.port()), (true, port));
}
