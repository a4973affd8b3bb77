//! Sessions and the socket that their connections arrive at.

use std::{
    io::Read as _,
    net::{Ipv4Addr, SocketAddr},
};

use socket2::{Domain, Socket, Type};

use super::*;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A table whose only port is a listening socket's, which nobody accepts from yet.
fn arrivals() -> (Arc<Table>, Arc<Acceptor>, SocketAddr) {
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (table, _) = table(&address.port().to_string(), PATIENT);
    let acceptor = Acceptor::new(vec![listener]);
    table.attend(Arc::clone(&acceptor));
    (table, acceptor, address)
}

async fn open(table: &Arc<Table>, client: Ipv4Addr) -> Hole {
    let hole = table.open(1, client.into(), HERE.into(), None).await;
    hole.unwrap()
}

fn connect(client: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((client, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// Whose connection it is.
fn assert_same(client: &TcpStream, accepted: &TcpStream) {
    let (local, peer) = (client.local_addr(), accepted.peer_addr());
    assert_eq!(local.unwrap(), peer.unwrap());
}

#[tokio::test]
async fn whoever_accepts_hands_over_what_belongs_to_others() {
    let (table, acceptor, address) = arrivals();
    acceptor.start();
    let (mut first, mut second) = (open(&table, FIRST).await, open(&table, SECOND).await);
    let (to_second, to_first) = (connect(SECOND, address), connect(FIRST, address));
    assert_same(&to_first, &first.accept().await.unwrap());
    // It came first, and has been put down where its session finds it.
    acceptor.end();
    assert_same(&to_second, &second.accept().await.unwrap());
}

#[tokio::test]
async fn one_that_waits_listens_for_all_and_another_goes_on_after_it() {
    let (table, acceptor, address) = arrivals();
    acceptor.start();
    let wait = async |client| open(&table, client).await.accept().await.unwrap();
    let come = async {
        // Both wait by now: the futures below are polled in this order.
        let to_second = connect(SECOND, address);
        tokio::task::yield_now().await;
        (connect(FIRST, address), to_second)
    };
    let (first, second, (to_first, to_second)) = tokio::join!(wait(FIRST), wait(SECOND), come);
    assert_same(&to_first, &first);
    assert_same(&to_second, &second);
}

#[tokio::test]
async fn nothing_is_accepted_until_it_is_settled_who_does() {
    let (table, acceptor, address) = arrivals();
    let mut hole = open(&table, FIRST).await;
    let client = connect(FIRST, address);
    let early = tokio::time::timeout(Duration::from_millis(50), hole.accept());
    assert!(early.await.is_err());
    acceptor.start();
    assert_same(&client, &hole.accept().await.unwrap());
}

#[tokio::test]
async fn a_connection_that_no_session_waits_for_is_reset() {
    let (table, acceptor, address) = arrivals();
    acceptor.start();
    let assert_reset = |mut client: TcpStream| {
        let error = client.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    };
    let hole = open(&table, FIRST).await;
    let client = connect(FIRST, address);
    drop(hole);
    assert_reset(client);

    let client = connect(FIRST, address);
    table.sweep(Instant::now());
    assert_reset(client);
}

#[tokio::test]
async fn a_connection_that_came_in_time_outlives_the_deadline() {
    let (table, acceptor, address) = arrivals();
    acceptor.start();
    let mut hole = open(&table, FIRST).await;
    let client = connect(FIRST, address);
    table.sweep(hole.deadline);
    assert_same(&client, &hole.accept().await.unwrap());
}
