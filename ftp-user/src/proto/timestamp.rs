//! Times as RFC 3659 section 2.3 writes them, both ways.

use std::time::{Duration, SystemTime};

use super::append;
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// Appends a time as RFC 3659 section 2.3 writes it, YYYYMMDDHHMMSS in UTC. Fractions are cut off:
/// they are allowed, but many clients do not expect any.
pub fn append_timestamp(time: SystemTime, out: &mut Vec<u8>) {
    let date = civil(time);
    append::zeros(year(date), 4, out);
    for field in [
        date.month().into(),
        date.day(),
        date.hour(),
        date.minute(),
        date.second(),
    ] {
        append::zeros(field.into(), 2, out);
    }
}

/// Reads YYYYMMDDHHMMSS with a fraction or none (RFC 3659 section 2.3).
pub fn parse_timestamp(text: &[u8]) -> Option<SystemTime> {
    let (seconds, fraction) = match text.iter().position(|&byte| byte == b'.') {
        Some(dot) => (text.get(..dot)?, Some(text.get(dot + 1..)?)),
        None => (text, None),
    };
    if seconds.len() != 14 {
        return None;
    }
    let field = |range| seconds.get(range).and_then(digits);
    let byte = |range| field(range).and_then(|field| u8::try_from(field).ok());
    let year = i32::try_from(field(0..4)?).ok()?;
    let month = Month::try_from(byte(4..6)?).ok()?;
    let date = Date::from_calendar_date(year, month, byte(6..8)?).ok()?;
    // A leap second, 60, is the second that follows 59.
    let (second, leap) = match byte(12..14)? {
        60 => (59, Duration::from_secs(1)),
        second => (second, Duration::ZERO),
    };
    let time = Time::from_hms(byte(8..10)?, byte(10..12)?, second).ok()?;
    let whole = SystemTime::from(PrimitiveDateTime::new(date, time).assume_utc());
    let nanos = fraction.map_or(Some(0), nanoseconds)?;
    whole
        .checked_add(leap)?
        .checked_add(Duration::from_nanos(nanos))
}

/// The UTC date and time, whole seconds. Outside of the years 0 to 9999, which is all that four
/// digits can say, it is 1970: such a time is nonsense anyway.
pub(crate) fn civil(time: SystemTime) -> OffsetDateTime {
    let seconds = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).ok(),
        // Downwards, away from the epoch, as all other times are cut.
        Err(before) => {
            let before = before.duration();
            let whole = before.as_secs() + u64::from(before.subsec_nanos() > 0);
            i64::try_from(whole).ok().map(|seconds| -seconds)
        }
    };
    seconds
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .filter(|date| (0..=9999).contains(&date.year()))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// The year of what [`civil`] returned.
pub(crate) fn year(date: OffsetDateTime) -> u64 {
    u64::try_from(date.year()).unwrap_or_default()
}

/// The number that ASCII digits write; at most four of them are ever asked for.
fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0u32, |number, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// At least one digit; those behind the ninth are too small to matter.
fn nanoseconds(fraction: &[u8]) -> Option<u64> {
    if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nine = fraction
        .iter()
        .copied()
        .chain(std::iter::repeat(b'0'))
        .take(9);
    Some(nine.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests;
