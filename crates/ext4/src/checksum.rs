//! CRC-32C as ext4 uses it: continued from a given value, never inverted.

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0_usize;
    let mut number = 0_u32;
    while byte < 256 {
        let mut value = number;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ 0x82f6_3b78 } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
        number += 1;
    }
    table
}

/// The checksum of what gave `before`, followed by `bytes`.
pub(crate) fn crc32c(before: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(before, |sum, byte| sum >> 8 ^ TABLE[usize::from(sum.to_le_bytes()[0] ^ byte)])
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_value_is_castagnolis() {
        assert_eq!(!super::crc32c(!0, b"123456789"), 0xe306_9283);
        assert_eq!(super::crc32c(super::crc32c(!0, b"1234"), b"56789"), super::crc32c(!0, b"123456789"));
    }
}
