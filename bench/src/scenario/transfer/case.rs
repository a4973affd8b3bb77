//! What each server is asked to do: which way, how much, by how many streams, in the clear or not.

/// Bytes of the large transfers: without TLS a run of 1 GiB takes a fraction of a second.
pub(super) const LARGE: u64 = 1 << 30;
pub(super) const LARGE_QUICK_TLS: u64 = 1 << 28;
/// Many small ones.
pub(super) const SMALL_COUNT: u32 = 10_000;
pub(super) const SMALL_COUNT_QUICK: u32 = 1_000;
pub(super) const STREAMS: [usize; 2] = [1, 8];

/// One thing that each server is asked to do.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) upload: bool,
    pub(super) tls: bool,
    pub(super) streams: usize,
    pub(super) what: What,
}

#[derive(Clone, Copy)]
pub(super) enum What {
    /// This many bytes in all, one file for each stream.
    Large(u64),
    /// This many files in all.
    Small(u32),
}

impl Case {
    pub(super) fn all(quick: bool) -> Vec<Self> {
        let mut all = Vec::new();
        for small in [false, true] {
            for upload in [false, true] {
                for tls in [false, true] {
                    for streams in STREAMS {
                        let what = match small {
                            true if quick => What::Small(SMALL_COUNT_QUICK),
                            true => What::Small(SMALL_COUNT),
                            false if quick && tls => What::Large(LARGE_QUICK_TLS),
                            false => What::Large(LARGE),
                        };
                        all.push(Self {
                            upload,
                            tls,
                            streams,
                            what,
                        });
                    }
                }
            }
        }
        all
    }

    /// How often it is done before it is the next server's turn: in the clear one is too short.
    pub(super) fn times(&self) -> u32 {
        match (self.what, self.tls) {
            (What::Large(_), false) => 3,
            (What::Large(_), true) | (What::Small(_), _) => 1,
        }
    }

    pub(super) fn name(&self) -> String {
        let verb = if self.upload { "STOR" } else { "RETR" };
        let what = match self.what {
            What::Large(size) => format!("{} MiB", size >> 20),
            What::Small(count) => format!("{count} x 4 KiB"),
        };
        let tls = if self.tls { ", TLS" } else { "" };
        let streams = match self.streams {
            1 => "1 stream".to_owned(),
            many => format!("{many} streams"),
        };
        format!("{verb} {what}{tls}, {streams}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<String> =
            Case::all(false).iter().map(Case::name).collect();
        assert_eq!(names.len(), 16);
        assert!(names.contains("RETR 1024 MiB, TLS, 8 streams"), "{names:?}");
        assert!(names.contains("STOR 10000 x 4 KiB, 1 stream"), "{names:?}");
    }
}
