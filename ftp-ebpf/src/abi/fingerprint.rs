//! A number that stands for the layout and meaning of the shared memory. Maps that outlive the
//! daemon (the guard's, pinned) are used again only by a build with the same number.

/// Hash of the sources that say what lies in the maps. It changes more often than it must, with a
/// comment even: then the maps are replaced, which costs little; maps read wrongly would cost all.
pub const FINGERPRINT: u64 = {
    let mut hash = FNV_OFFSET;
    hash = fnv1a(hash, include_bytes!("address.rs"));
    hash = fnv1a(hash, include_bytes!("event.rs"));
    hash = fnv1a(hash, include_bytes!("guard.rs"));
    hash = fnv1a(hash, include_bytes!("names.rs"));
    hash = fnv1a(hash, include_bytes!("pinhole.rs"));
    hash = fnv1a(hash, include_bytes!("ports.rs"));
    hash = fnv1a(hash, include_bytes!("tuple.rs"));
    hash = fnv1a(hash, include_bytes!("../guard.rs"));
    hash = fnv1a(hash, include_bytes!("../reason.rs"));
    hash = fnv1a(hash, include_bytes!("../maps.rs"));
    fnv1a(hash, include_bytes!("../guard_maps.rs"))
};

/// FNV-1a, 64 bits (draft-eastlake-fnv).
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

const fn fnv1a(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(FNV_PRIME);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_layout_is_counted() {
        // None of these says what lies in a map that outlives the daemon.
        let others = ["fingerprint.rs", "pod.rs", "trace.rs"];
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/abi");
        for file in std::fs::read_dir(folder).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let counted = include_str!("fingerprint.rs").contains(&format!("bytes!({name:?})"));
            assert_ne!(counted, others.contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(FNV_OFFSET, b""), FNV_OFFSET);
        assert_eq!(fnv1a(FNV_OFFSET, b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
