//! The table against a kernel that is plain memory.

mod arrivals;
mod handover;
mod ports;

use std::{collections::HashSet, net::TcpListener};

use super::*;
use crate::pinholes::AcceptError;

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
