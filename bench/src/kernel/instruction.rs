//! eBPF instructions by name (RFC 9669). Pure.

/// `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    code: u8,
    /// Destination in the low four bits, source in the high four.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// A register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Register(u8);

pub(crate) const R0: Register = Register(0);
pub(crate) const R1: Register = Register(1);
pub(crate) const R2: Register = Register(2);
pub(crate) const R3: Register = Register(3);
pub(crate) const R6: Register = Register(6);
pub(crate) const R7: Register = Register(7);
pub(crate) const R8: Register = Register(8);
pub(crate) const R9: Register = Register(9);

/// Helper functions, by their numbers in include/uapi/linux/bpf.h.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Helper {
    KtimeGetNs = 5,
    GetPrandomU32 = 7,
    Redirect = 23,
}

const fn new(code: u8, to: Register, from: Register, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: to.0 | from.0 << 4,
        offset,
        immediate,
    }
}

/// `to = value`
pub(crate) const fn set(to: Register, value: i32) -> Instruction {
    new(0xb7, to, R0, 0, value)
}

/// `to = from`
pub(crate) const fn copy(to: Register, from: Register) -> Instruction {
    new(0xbf, to, from, 0, 0)
}

/// `to += value`
pub(crate) const fn add(to: Register, value: i32) -> Instruction {
    new(0x07, to, R0, 0, value)
}

/// `to += from`
pub(crate) const fn add_register(to: Register, from: Register) -> Instruction {
    new(0x0f, to, from, 0, 0)
}

/// `to -= from`
pub(crate) const fn subtract_register(to: Register, from: Register) -> Instruction {
    new(0x1f, to, from, 0, 0)
}

/// `to &= value`
pub(crate) const fn and(to: Register, value: i32) -> Instruction {
    new(0x57, to, R0, 0, value)
}

/// `to >>= value`
pub(crate) const fn shift_right(to: Register, value: i32) -> Instruction {
    new(0x77, to, R0, 0, value)
}

/// The low 16 bits of `to` into network byte order.
pub(crate) const fn to_network_16(to: Register) -> Instruction {
    new(0xdc, to, R0, 0, 16)
}

/// `to = *(u8 *)(from + offset)`
pub(crate) const fn load_8(to: Register, from: Register, offset: i16) -> Instruction {
    new(0x71, to, from, offset, 0)
}

/// `to = *(u16 *)(from + offset)`
pub(crate) const fn load_16(to: Register, from: Register, offset: i16) -> Instruction {
    new(0x69, to, from, offset, 0)
}

/// `to = *(u32 *)(from + offset)`
pub(crate) const fn load_32(to: Register, from: Register, offset: i16) -> Instruction {
    new(0x61, to, from, offset, 0)
}

/// `to = *(u64 *)(from + offset)`
pub(crate) const fn load_64(to: Register, from: Register, offset: i16) -> Instruction {
    new(0x79, to, from, offset, 0)
}

/// `*(u16 *)(to + offset) = from`
pub(crate) const fn store_16(to: Register, offset: i16, from: Register) -> Instruction {
    new(0x6b, to, from, offset, 0)
}

/// `*(u64 *)(to + offset) = from`
pub(crate) const fn store_64(to: Register, offset: i16, from: Register) -> Instruction {
    new(0x7b, to, from, offset, 0)
}

/// Skips instructions.
pub(crate) const fn skip(skip: i16) -> Instruction {
    new(0x05, R0, R0, skip, 0)
}

/// `if left > right` skips instructions (or goes back, if negative).
pub(crate) const fn skip_if_greater(left: Register, right: Register, skip: i16) -> Instruction {
    new(0x2d, left, right, skip, 0)
}

/// `if left >= right` skips instructions.
pub(crate) const fn skip_if_at_least(left: Register, right: Register, skip: i16) -> Instruction {
    new(0x3d, left, right, skip, 0)
}

/// `if left != value` skips instructions.
pub(crate) const fn skip_unless(left: Register, value: i32, skip: i16) -> Instruction {
    new(0x55, left, R0, skip, value)
}

/// `r0 = helper(r1, …)`
pub(crate) const fn call(helper: Helper) -> Instruction {
    new(0x85, R0, R0, 0, helper as i32)
}

/// Ends with the verdict in r0.
pub(crate) const fn exit() -> Instruction {
    new(0x95, R0, R0, 0, 0)
}

/// `to` points to the value of an array map with one row (BPF_PSEUDO_MAP_VALUE); two slots long.
pub(crate) const fn map_value(to: Register, map_fd: i32) -> [Instruction; 2] {
    [
        new(0x18, to, R2, 0, map_fd),
        Instruction {
            code: 0,
            registers: 0,
            offset: 0,
            immediate: 0,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_share_a_byte() {
        assert_eq!(copy(R6, R1).registers, 0x16);
        assert_eq!(load_32(R2, R6, 4).registers, 0x62);
        assert_eq!(size_of::<Instruction>(), 8);
    }
}
