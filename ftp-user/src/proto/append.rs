//! Names, and numbers as text, appended to a line. A listing writes a dozen for each of a hundred thousand files;
//! core's formatting machinery was a sixth of its time.

/// Appends a name byte for byte, but for the bytes that end lines: those become "?", as in `ls -q`. A file
/// whose name is "a\r\nb" shows as one line; MLST and STAT, which are replies, name it as it is.
pub(crate) fn name(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(bytes);
    for byte in out.iter_mut().skip(start) {
        if matches!(*byte, b'\r' | b'\n' | 0) {
            *byte = b'?';
        }
    }
}

/// Appends `number`.
pub(crate) fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends `number` with blanks in front up to `width`, as `{:width$}` does.
pub(crate) fn right(number: u64, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(number).as_bytes();
    blanks(width.saturating_sub(digits.len()), out);
    out.extend_from_slice(digits);
}

/// Appends `number` with blanks behind it up to `width`, as `{:<width$}` does.
pub(crate) fn left(number: u64, width: usize, out: &mut Vec<u8>) {
    let before = out.len();
    self::number(number, out);
    blanks(width.saturating_sub(out.len() - before), out);
}

/// Appends `number` with zeros in front up to `width` digits, of which it has no more.
pub(crate) fn zeros(number: u64, width: usize, out: &mut Vec<u8>) {
    in_base::<10>(number, width, out);
}

/// Appends `number` in hexadecimal.
pub(crate) fn hexadecimal(number: u64, out: &mut Vec<u8>) {
    in_base::<16>(number, 1, out);
}

/// Appends `number` in octal, with zeros in front up to `width` digits.
pub(crate) fn octal(number: u64, width: usize, out: &mut Vec<u8>) {
    in_base::<8>(number, width, out);
}

fn in_base<const BASE: u64>(mut number: u64, least: usize, out: &mut Vec<u8>) {
    let start = out.len();
    while number > 0 || out.len() - start < least {
        let digit = usize::try_from(number % BASE).unwrap_or_default();
        out.extend(b"0123456789abcdef".get(digit));
        number /= BASE;
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

fn blanks(count: usize, out: &mut Vec<u8>) {
    out.resize(out.len() + count, b' ');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn as_the_standard_library_writes_them(value in any::<u64>(), shift in 0u32..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            number(value, &mut out);
            out.push(b'|');
            right(value, 12, &mut out);
            out.push(b'|');
            left(value, 8, &mut out);
            out.push(b'|');
            zeros(value, 4, &mut out);
            out.push(b'|');
            hexadecimal(value, &mut out);
            out.push(b'|');
            octal(value, 4, &mut out);
            let text = format!("{value}|{value:12}|{value:<8}|{value:04}|{value:x}|{value:04o}");
            prop_assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
