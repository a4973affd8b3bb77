//! Times there and back.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

/// 2024-02-29 12:34:56 UTC.
const LEAP_DAY: u64 = 1_709_210_096;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn timestamp(time: SystemTime) -> String {
    let mut out = Vec::new();
    append_timestamp(time, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn timestamps_are_written_in_utc_and_cut_to_seconds() {
    let shown = timestamp;
    assert_eq!(shown(UNIX_EPOCH), "19700101000000");
    assert_eq!(shown(at(LEAP_DAY)), "20240229123456");
    assert_eq!(
        shown(at(LEAP_DAY) + Duration::from_nanos(999_999_999)),
        "20240229123456"
    );
    assert_eq!(
        shown(UNIX_EPOCH - Duration::from_nanos(1)),
        "19691231235959"
    );
    assert_eq!(shown(UNIX_EPOCH - Duration::from_secs(1)), "19691231235959");
    assert_eq!(shown(at(253_402_300_799)), "99991231235959");
    // What four digits cannot say.
    assert_eq!(shown(at(253_402_300_800)), "19700101000000");
    assert_eq!(shown(at(1 << 62)), "19700101000000");
    assert_eq!(
        shown(UNIX_EPOCH - Duration::from_secs(1 << 62)),
        "19700101000000"
    );
}

#[test]
fn timestamps_are_read() {
    let read = |text: &str| parse_timestamp(text.as_bytes());
    assert_eq!(read("20240229123456"), Some(at(LEAP_DAY)));
    let tenth = at(LEAP_DAY) + Duration::from_millis(100);
    assert_eq!(read("20240229123456.1"), Some(tenth));
    assert_eq!(read("20240229123456.100"), Some(tenth));
    assert_eq!(read("20240229123456.1000000009"), Some(tenth));
    assert_eq!(
        read("19691231235959"),
        Some(UNIX_EPOCH - Duration::from_secs(1))
    );
    assert_eq!(
        read("20161231235960"),
        Some(at(1_483_228_800)),
        "a leap second"
    );
    for wrong in [
        "",
        "2024022912345",
        "202402291234567",
        "20230229123456",
        "20240230000000",
        "20241301000000",
        "20240001000000",
        "20240100000000",
        "20240101240000",
        "20240101006000",
        "20240101000061",
        "2024010100000a",
        "+0240101000000",
        "20240229123456.",
        "20240229123456.a",
        "20240229123456.1.1",
        "20240229123456 ",
        "-20240229123456",
    ] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}

proptest! {
    #[test]
    fn timestamps_survive_the_round_trip(seconds in -62_000_000_000i64..253_402_300_799) {
        let time = if seconds < 0 {
            UNIX_EPOCH - Duration::from_secs(seconds.unsigned_abs())
        } else {
            at(seconds.unsigned_abs())
        };
        let text = timestamp(time);
        prop_assert_eq!(text.len(), 14);
        prop_assert_eq!(parse_timestamp(text.as_bytes()), Some(time));
    }

    #[test]
    fn no_bytes_make_reading_panic(text in proptest::collection::vec(any::<u8>(), 0..24)) {
        let _ = parse_timestamp(&text);
    }
}
