//! What is seen here and there becomes one account, or none.

use ftp_ebpf::abi::{Address, ClientMask, PinholeKey};

use super::*;

fn tuple(client_port: u16) -> Tuple {
    Tuple {
        client: Address::from(IpAddr::from([192, 0, 2, 7])),
        server: Address::from(IpAddr::from([192, 0, 2, 1])),
        client_port_be: client_port.to_be(),
        server_port_be: 30_000_u16.to_be(),
    }
}

fn opening(time_ns: u64, session: u64, key: PinholeKey) -> Opening {
    Opening {
        time_ns,
        session,
        key,
        zero: 0,
    }
}

fn event(kind: EventKind, time_ns: u64, session: u64, client_port: u16) -> Event {
    Event {
        time_ns,
        session,
        kind: kind as u32,
        tuple: tuple(client_port),
        ..Event::default()
    }
}

fn transfer(client_port: u16, established_ns: u64) -> Transfer {
    Transfer {
        tuple: tuple(client_port),
        process: 9,
        established_ns,
        accepted_ns: established_ns + 10,
        first_byte_ns: established_ns + 30,
        last_byte_ns: established_ns + 60,
        ended_ns: established_ns + 100,
        sent: 1,
        ..Transfer::default()
    }
}

#[test]
fn steps_are_joined_by_the_session_that_the_lock_tells() {
    let mut seen = Seen::default();
    // Of a whole network: the opening's client is not the connection's.
    let masked = tuple(0).key(&ClientMask::from_prefixes(24, 64));
    seen.opened(opening(100, 4, masked));
    seen.opened(opening(150, 5, masked));
    // Negotiated anew since, for the next transfer.
    seen.heard(&event(EventKind::Claimed, 200, 4, 40_000));
    seen.opened(opening(210, 4, masked));
    let line = seen.ended(&transfer(40_000, 220)).unwrap();
    assert_eq!((line.session, line.process), (Some(4), Some(9)));
    assert_eq!(line.first_byte_by, Some(End::Server));
    let times = Moment::ALL.map(|moment| line.at(moment).unwrap());
    assert_eq!(times, [100, 200, 220, 230, 250, 280, 320]);
    let between: Vec<_> = line.intervals().map(|(.., ns)| ns).collect();
    assert_eq!(between, [100, 20, 10, 20, 30, 40]);
    // Each is used once.
    assert_eq!(seen.ended(&transfer(40_000, 220)), None);
}

#[test]
fn a_guards_openings_come_from_the_kernel_half() {
    let mut seen = Seen::default();
    seen.heard(&event(EventKind::Opened, 100, 7, 0));
    seen.heard(&event(EventKind::Claimed, 200, 7, 40_000));
    let line = seen.ended(&transfer(40_000, 220)).unwrap();
    assert_eq!(line.at(Moment::Negotiated), Some(100));
    assert_eq!(line.at(Moment::Syn), Some(200));
}

#[test]
fn without_a_lock_in_front_the_pinholes_key_tells() {
    let mut seen = Seen::default();
    seen.opened(opening(100, 4, tuple(0).key(&ClientMask::EXACT)));
    seen.opened(opening(900, 4, tuple(0).key(&ClientMask::EXACT)));
    let line = seen.ended(&transfer(40_000, 220)).unwrap();
    assert_eq!(line.at(Moment::Negotiated), Some(100));
    assert_eq!(line.at(Moment::Syn), None);
    let first = line.intervals().next();
    assert_eq!(first, Some((Moment::Negotiated, Moment::Established, 120)));
}

#[test]
fn what_nobody_negotiated_is_no_data_connection() {
    assert_eq!(Seen::default().ended(&transfer(40_000, 220)), None);
}

#[test]
fn an_active_connection_was_negotiated_by_the_client() {
    let refused = Transfer {
        active: 1,
        process: 9,
        syn_ns: 50,
        ended_ns: 70,
        tuple: tuple(40_000),
        ..Transfer::default()
    };
    let line = Seen::default().ended(&refused).unwrap();
    assert!(line.active && line.session.is_none());
    let all: Vec<_> = line.intervals().collect();
    assert_eq!(all, [(Moment::Syn, Moment::Closed, 20)]);
}
