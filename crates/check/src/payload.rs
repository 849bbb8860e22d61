//! The bytes that the checks send.

/// Returns `n` bytes. Each seed has other bytes, and every value from 0 to 255 occurs in all of them. So a byte that is
/// missing, repeated or from another connection shows within a few bytes.
pub(crate) fn payload(seed: u64, n: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut bytes = Vec::with_capacity(n + 8);
    while bytes.len() < n {
        // xorshift64 (Marsaglia, "Xorshift RNGs", 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(n);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_have_different_bytes_and_all_values() {
        let (a, b) = (payload(1, 10_000), payload(2, 10_000));
        assert_eq!(a.len(), 10_000);
        let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
        assert!(same < 100, "{same}");
        assert!((0..=255).all(|byte| a.contains(&byte)));
    }
}
