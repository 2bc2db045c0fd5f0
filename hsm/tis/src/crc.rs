//! The CRC of the I2C interface: CRC-CCITT, least significant bit first, from 0 (PTP, `TPM_DATA_CSUM`).

/// x¹⁶ + x¹² + x⁵ + 1, reflected.
const POLYNOMIAL: u16 = 0x8408;

/// The CRC of `data`.
pub(crate) fn crc16(data: &[u8]) -> u16 {
    data.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |c, _| if c & 1 == 1 { (c >> 1) ^ POLYNOMIAL } else { c >> 1 })
    })
}

#[cfg(test)]
mod tests {
    /// The catalogue of CRCs has 0x2189 for this one ("KERMIT") over the digits.
    #[test]
    fn check_value() {
        assert_eq!(super::crc16(b"123456789"), 0x2189);
        assert_eq!(super::crc16(b""), 0);
    }
}
