//! Rows for all peers. What the packets of `tests/src/cases` meet, they test beside the kernel.

use super::*;

const PORT_BE: u16 = 40_000_u16.to_be();
const CLIENT: Address = Address::v4(1);
/// Guarded here, as one that is inherited may be.
const LISTENER_BE: u16 = 50_000_u16.to_be();
const LISTENER_V6_BE: u16 = 50_001_u16.to_be();

/// Rows by number, and who has a control connection.
struct Tables {
    rows: [PinholeKey; 2],
    peer: Address,
    policy: u64,
}

impl World for Tables {
    type Row = usize;

    fn policy(&self) -> u64 {
        self.policy
    }
    fn guarded(&self, _index: usize) -> u64 {
        u64::MAX
    }
    fn waiting(&self, _index: usize) -> u64 {
        u64::MAX
    }
    fn client_mask(&self) -> ClientMask {
        ClientMask::EXACT
    }
    fn is_local(&self, _addr: &Address) -> bool {
        true
    }
    fn is_peer(&self, client: &Address) -> bool {
        self.peer == *client
    }
    fn now_ns(&self) -> u64 {
        0
    }
    fn pinhole(&self, key: &PinholeKey) -> Option<usize> {
        self.rows.iter().position(|row| row == key)
    }
    fn deadline_ns(&self, _row: usize) -> u64 {
        u64::MAX
    }
    fn session(&self, row: usize) -> u64 {
        row as u64
    }
    fn claimed(&self, _row: usize) -> Claim {
        Claim::FREE
    }
    fn claim(&self, key: &PinholeKey, row: usize, _old: Claim, _new: Claim) -> bool {
        self.rows[row] == *key
    }
    fn remembers(&self, _tuple: &Tuple) -> bool {
        false
    }
    fn remember(&self, _tuple: &Tuple) {}
    fn socket(&self, _tuple: &Tuple) -> Socket {
        Socket::None
    }
    fn listener_port_be(&self, is_v4: bool) -> u16 {
        match is_v4 {
            true => LISTENER_BE,
            false => LISTENER_V6_BE,
        }
    }
}

fn attempt(client: Address, own: bool, policy: u64) -> Outcome {
    let tuple = Tuple {
        client,
        server: Address::v4(9),
        client_port_be: 5,
        server_port_be: PORT_BE,
    };
    let exact = match own {
        true => tuple.key(&ClientMask::EXACT),
        false => PinholeKey::default(),
    };
    let world = Tables {
        rows: [exact, PinholeKey::of_peers(PORT_BE)],
        peer: CLIENT,
        policy,
    };
    connection_attempt(&world, &tuple)
}

#[test]
fn a_row_for_all_peers_is_for_peers_and_only_where_that_is_the_policy() {
    let admit = policy::ADMIT_PEERS;
    let shared = attempt(CLIENT, false, admit);
    assert_eq!((shared.reason, shared.session), (Reason::PinholeSyn, 1));
    assert!(shared.took);
    let stranger = attempt(Address::v4(2), false, admit);
    assert_eq!(stranger.reason, Reason::WrongClient);
    assert_eq!(attempt(CLIENT, false, 0).reason, Reason::WrongClient);
}

#[test]
fn a_clients_own_row_comes_before_the_one_for_all() {
    let own = attempt(CLIENT, true, policy::ADMIT_PEERS);
    assert_eq!((own.reason, own.session), (Reason::PinholeSyn, 0));
}

fn steered(server: Address, server_port_be: u16, rows: [PinholeKey; 2]) -> Reason {
    let tuple = Tuple {
        client: CLIENT,
        server,
        client_port_be: 5,
        server_port_be,
    };
    let world = Tables {
        rows,
        peer: CLIENT,
        policy: 0,
    };
    steer(&world, &tuple)
}

#[test]
fn nobody_comes_to_the_listener_itself() {
    let (v4, v6) = (Address::localhost(true), Address::localhost(false));
    let to = |server, port_be| steered(server, port_be, [PinholeKey::default(); 2]);
    assert_eq!(to(v4, LISTENER_BE), Reason::InternalListener);
    assert_eq!(to(v6, LISTENER_V6_BE), Reason::InternalListener);
    // Other sockets than the listener: another protocol's, another address's, another port's.
    assert_eq!(to(v4, LISTENER_V6_BE), Reason::NotSteered);
    assert_eq!(to(v6, LISTENER_BE), Reason::NotSteered);
    let other = Address::from(core::net::IpAddr::from([127, 0, 0, 2]));
    assert_eq!(to(other, LISTENER_BE), Reason::NotSteered);
    assert_eq!(to(Address::v4(9), LISTENER_BE), Reason::NotSteered);
    assert_eq!(to(v4, PORT_BE), Reason::NotSteered);
}

#[test]
fn a_pinhole_on_the_listeners_own_port_is_a_pinhole() {
    let key = PinholeKey {
        client: CLIENT,
        server: Address::localhost(true),
        port_be: LISTENER_BE,
        zero: 0,
    };
    let reason = steered(key.server, LISTENER_BE, [key, PinholeKey::default()]);
    assert_eq!(reason, Reason::Steered);
}
