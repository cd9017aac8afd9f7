//! Sixty-four bytes at a time: where quotes stand that begin or end a string. Never what a string says.

/// How many bytes are looked at together.
pub(super) const BLOCK: usize = 64;

/// What stands in a block, one bit for each byte, the first byte in the lowest bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) quotes: u64,
    pub(super) backslashes: u64,
    /// Whether there is a control character anywhere, which JSON forbids within strings.
    pub(super) control: bool,
}

/// The marks of a block. Written so that the compiler makes vector instructions of it: compared byte by byte, then eight results at a
/// time gathered into eight bits by a multiplication.
#[inline]
pub(super) fn marks(block: &[u8; BLOCK]) -> Marks {
    let mut special = 0;
    for byte in block {
        special |= u8::from(*byte < 0x20) | u8::from(*byte == b'\\');
    }
    let quotes = places_of(b'"', block);
    if special == 0 {
        return Marks { quotes, backslashes: 0, control: false };
    }
    Marks { quotes, backslashes: places_of(b'\\', block), control: block.iter().any(|byte| *byte < 0x20) }
}

#[inline]
fn places_of(wanted: u8, block: &[u8; BLOCK]) -> u64 {
    let mut equal = [0; BLOCK];
    for (equal, byte) in equal.iter_mut().zip(block) {
        *equal = u8::from(*byte == wanted);
    }
    let mut bits = 0;
    for (number, eight) in equal.as_chunks::<8>().0.iter().enumerate() {
        // The lowest bit of the first byte comes to the top byte's lowest bit, that of the second to the next, and so on.
        let gathered = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) & (0xff << 56);
        bits |= gathered >> (56 - 8 * number);
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_byte(block: &[u8; BLOCK]) -> Marks {
        let mut marks = Marks { quotes: 0, backslashes: 0, control: false };
        for (place, byte) in block.iter().enumerate() {
            marks.quotes |= u64::from(*byte == b'"') << place;
            marks.backslashes |= u64::from(*byte == b'\\') << place;
            marks.control |= *byte < 0x20;
        }
        marks
    }

    proptest! {
        #[test]
        fn every_byte_is_seen_where_it_stands(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\')], BLOCK)) {
            let mut block = [0; BLOCK];
            block.copy_from_slice(&bytes);
            prop_assert_eq!(marks(&block), by_byte(&block));
            for byte in &mut block {
                *byte |= 0x20;
            }
            prop_assert_eq!(marks(&block), by_byte(&block));
        }
    }
}
