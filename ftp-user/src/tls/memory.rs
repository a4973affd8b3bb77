//! Sessions that may be resumed: a few, of one control connection.

use rustls::server::StoresServerSessions;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// What the control connection's own handshake leaves: rustls sends two tickets.
const FIRST: usize = 2;
/// Sessions remembered at one time.
const MOST: usize = 8;

type Key = Vec<u8>;
type Secret = Zeroizing<Vec<u8>>;

/// The sessions of one control connection. The first ones stay: many clients resume the control
/// connection's own for every transfer. Newer ones take each other's places.
#[derive(Default)]
pub(super) struct Memory(Mutex<VecDeque<(Key, Secret)>>);

impl Memory {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Key, Secret)>> {
        // Entries are whole after every operation on them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, key: Key, value: Secret) {
        let mut sessions = self.lock();
        sessions.retain(|(known, _)| *known != key);
        if sessions.len() == MOST {
            sessions.remove(FIRST);
        }
        sessions.push_back((key, value));
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} sessions)", self.lock().len())
    }
}

impl StoresServerSessions for Memory {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.remember(key, Zeroizing::new(value));
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let sessions = self.lock();
        let found = sessions.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.to_vec())
    }

    /// Leaves it where it is: clients resume one TLS 1.3 ticket for many transfers. That RFC 8446
    /// (appendix C.4) advises against it is for the sake of unlinkability, and these connections are
    /// linked on purpose. There is no early data that could be replayed.
    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// One data connection's view: it resumes what its control connection remembers. What it adds is
/// kept only once it has shown that it belongs there.
#[derive(Debug)]
pub(super) struct Staged {
    memory: std::sync::Arc<Memory>,
    added: Memory,
}

impl Staged {
    pub(super) fn new(memory: std::sync::Arc<Memory>) -> Staged {
        Staged {
            memory,
            added: Memory::default(),
        }
    }

    pub(super) fn keep(&self) {
        for (key, value) in self.added.lock().drain(..) {
            self.memory.remember(key, value);
        }
    }
}

impl StoresServerSessions for Staged {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.added.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.memory.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.memory.take(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_first_stay_and_the_rest_is_bounded() {
        let memory = Memory::default();
        for n in 0..100u8 {
            memory.put(vec![n], vec![n, n]);
        }
        assert_eq!(memory.lock().len(), MOST);
        assert_eq!(memory.take(&[0]), Some(vec![0, 0]));
        assert_eq!(memory.take(&[0]), Some(vec![0, 0]), "taken, not used up");
        assert!(memory.get(&[1]).is_some());
        assert!(memory.get(&[2]).is_none());
        assert!(memory.get(&[99]).is_some());
        memory.put(vec![0], vec![7]);
        assert_eq!(memory.get(&[0]), Some(vec![7]));
        assert_eq!(memory.lock().len(), MOST);
        assert!(!format!("{memory:?}").contains('7'));
    }

    #[test]
    fn what_a_data_connection_adds_waits_until_it_has_shown_itself() {
        let memory = Arc::new(Memory::default());
        memory.put(b"control".to_vec(), vec![1]);
        let stranger = Staged::new(Arc::clone(&memory));
        stranger.put(b"stranger".to_vec(), vec![2]);
        drop(stranger);
        let ours = Staged::new(Arc::clone(&memory));
        assert_eq!(ours.take(b"control"), Some(vec![1]));
        assert_eq!(ours.take(b"stranger"), None);
        ours.put(b"ours".to_vec(), vec![3]);
        assert_eq!(memory.get(b"ours"), None);
        ours.keep();
        assert_eq!(memory.get(b"ours"), Some(vec![3]));
    }
}
