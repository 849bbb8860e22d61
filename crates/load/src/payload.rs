//! The bytes to send, as a function of seed, connection and offset. So any part of any stream can be checked without
//! a copy of the sent bytes.
//!
//! A stream is a sequence of 64-bit words. Each word is the connection's number and the word's index in the stream,
//! mixed by a permutation that can be inverted. So one received word shows its connection and its offset, and an echo
//! that went to the wrong connection is recognised. The module does not know messages or sockets.

/// Makes and checks the bytes of all streams of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payload {
    /// A number made from the seed. It is added to each word before the mixing.
    key: u64,
}

/// The connection and the offset that some bytes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The number of the connection.
    pub(crate) connection: u32,
    /// In bytes from the start of that connection's stream.
    pub(crate) offset: u64,
}

impl Payload {
    pub(crate) fn new(seed: u64) -> Payload {
        Payload {
            key: scramble(seed),
        }
    }

    #[cfg(test)]
    pub(super) const fn fixed() -> Payload {
        Payload { key: 0x1234_5678 }
    }

    /// Fills `bytes` with the bytes of a connection's stream from `offset` on.
    #[inline]
    pub(crate) fn fill(self, connection: u32, offset: u64, bytes: &mut [u8]) {
        let (mut index, head) = (offset / WORD, (offset % WORD) as usize);
        let mut rest = bytes;
        if head > 0 {
            let word = self.word(connection, index).to_le_bytes();
            let n = rest.len().min(WORD as usize - head);
            let (front, back) = rest.split_at_mut(n);
            copy(word.split_at(head).1, front);
            rest = back;
            index += 1;
        }
        let mut words = rest.chunks_exact_mut(WORD as usize);
        for chunk in &mut words {
            chunk.copy_from_slice(&self.word(connection, index).to_le_bytes());
            index += 1;
        }
        let tail = words.into_remainder();
        let word = self.word(connection, index).to_le_bytes();
        copy(&word, tail);
    }

    /// Compares `bytes` with a connection's stream from `offset` on. Returns how many bytes match before the first
    /// that differs.
    #[inline]
    pub(crate) fn matching(self, connection: u32, offset: u64, bytes: &[u8]) -> usize {
        let head = ((WORD - offset % WORD) % WORD) as usize;
        let (front, rest) = bytes.split_at(head.min(bytes.len()));
        let same = self.matching_in_word(connection, offset, front);
        if same < front.len() {
            return same;
        }
        let mut at = offset + front.len() as u64;
        let mut words = rest.chunks_exact(WORD as usize);
        for chunk in &mut words {
            // The common case: a whole word matches, and no comparison byte by byte is needed.
            if *chunk != self.word(connection, at / WORD).to_le_bytes() {
                let same = self.matching_in_word(connection, at, chunk);
                return (at - offset) as usize + same;
            }
            at += WORD;
        }
        (at - offset) as usize + self.matching_in_word(connection, at, words.remainder())
    }

    /// Like [`matching`](Payload::matching), for bytes that lie within one word.
    #[inline]
    fn matching_in_word(self, connection: u32, offset: u64, bytes: &[u8]) -> usize {
        let word = self.word(connection, offset / WORD).to_le_bytes();
        let (_, expected) = word.split_at((offset % WORD) as usize);
        let same = bytes.iter().zip(expected).take_while(|(a, b)| a == b);
        same.count()
    }

    /// Finds the connection and the offset that the bytes belong to, for connections with numbers below
    /// `connections`. It needs one whole word: 8 bytes, or up to 15 if the bytes begin within a word.
    pub(crate) fn origin(self, bytes: &[u8], connections: u32) -> Option<Origin> {
        let (sample, _) = bytes.split_at(bytes.len().min(LARGEST_SAMPLE));
        (0..WORD as usize).find_map(|shift| {
            let word = sample.get(shift..shift + WORD as usize)?;
            let id = unmix(u64::from_le_bytes(word.try_into().ok()?)).wrapping_sub(self.key);
            let connection = u32::try_from(id >> INDEX_BITS).ok()?;
            let offset = ((id & INDEX_MASK) * WORD).checked_sub(shift as u64)?;
            let origin = Origin { connection, offset };
            // Every word decodes to some connection and offset. For a corrupt word these are plausible by chance
            // about once in 10,000 times. Then all other bytes of the sample must match too.
            let plausible = connection < connections && offset < LONGEST_STREAM;
            (plausible && self.matching(connection, offset, sample) == sample.len())
                .then_some(origin)
        })
    }

    #[inline(always)]
    fn word(self, connection: u32, index: u64) -> u64 {
        let id = (u64::from(connection) << INDEX_BITS) | (index & INDEX_MASK);
        mix(id.wrapping_add(self.key))
    }
}

/// A random generator for sizes and arrivals: SplitMix64 (Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    state: u64,
}

impl Rng {
    /// Makes a generator. Each `purpose` gives a different sequence.
    pub(crate) fn new(seed: u64, purpose: u64) -> Rng {
        Rng {
            state: scramble(seed ^ scramble(purpose.wrapping_mul(GOLDEN))),
        }
    }

    /// Returns the next number: all 64-bit values are equally likely.
    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        scramble(self.state)
    }

    /// Returns a number from 0 to `below` - 1.
    #[inline]
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(below)) >> 64) as u64
    }

    /// Returns a number greater than 0 and at most 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// Copies the first bytes of `word`, as many as `to` holds.
#[inline(always)]
fn copy(word: &[u8], to: &mut [u8]) {
    for (to, from) in to.iter_mut().zip(word) {
        *to = *from;
    }
}

/// Mixes the bits of a number: the finaliser of SplitMix64.
#[inline(always)]
fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(FIRST);
    x = (x ^ (x >> 27)).wrapping_mul(SECOND);
    x ^ (x >> 31)
}

/// Mixes the words of streams with about half the steps of [`scramble`]: the words must only differ from each other.
/// Each step can be inverted, so each word has exactly one origin.
#[inline(always)]
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 32)).wrapping_mul(FIRST);
    x ^ (x >> 29)
}

/// Inverts [`mix`].
fn unmix(x: u64) -> u64 {
    let x = x ^ (x >> 29) ^ (x >> 58);
    let x = x.wrapping_mul(inverse(FIRST));
    x ^ (x >> 32)
}

/// Returns the multiplicative inverse of an odd number modulo 2⁶⁴, by Newton's method. The start value has 3 right
/// bits, and each step doubles their number.
const fn inverse(odd: u64) -> u64 {
    let mut x = odd;
    let mut step = 0;
    while step < 5 {
        x = x.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(x)));
        step += 1;
    }
    x
}

const FIRST: u64 = 0xbf58_476d_1ce4_e5b9;
const SECOND: u64 = 0x94d0_49bb_1331_11eb;
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The length of a word, in bytes.
const WORD: u64 = 8;

/// Bits of a word's index: a stream repeats after 8 TiB. The other 24 bits are for the connection's number.
const INDEX_BITS: u32 = 40;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;

/// How many connections have different streams. After that the numbers start again from 0.
pub(crate) const MOST_CONNECTIONS: u32 = 1 << (64 - INDEX_BITS);

/// The longest plausible stream: 64 GiB. A larger decoded offset counts as a coincidence.
const LONGEST_STREAM: u64 = 1 << 36;

/// The most bytes that must match an origin. A match of this number of bytes is not chance. Later bytes may belong to
/// another connection.
const LARGEST_SAMPLE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: Payload = Payload::fixed();

    fn stream(connection: u32, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        PAYLOAD.fill(connection, offset, &mut bytes);
        bytes
    }

    #[test]
    fn a_stream_is_the_same_however_it_is_cut() {
        let whole = stream(7, 0, 1000);
        for start in 0..40 {
            for length in 0..40 {
                let part = stream(7, start as u64, length);
                assert_eq!(part, whole[start..start + length], "{length} from {start}");
                assert_eq!(PAYLOAD.matching(7, start as u64, &part), length);
            }
        }
    }

    #[test]
    fn the_offset_of_each_wrong_byte_is_found() {
        for start in 0..16 {
            for wrong in 0..100 {
                let mut bytes = stream(3, start, 100);
                bytes[wrong] ^= 1;
                assert_eq!(PAYLOAD.matching(3, start, &bytes), wrong);
            }
        }
    }

    #[test]
    fn bytes_show_their_connection_and_offset() {
        for connection in [0, 1, 14_999] {
            for offset in [0, 1, 13, 64, 1 << 33] {
                let bytes = stream(connection, offset, 15);
                let origin = Origin { connection, offset };
                assert_eq!(PAYLOAD.origin(&bytes, 15_000), Some(origin));
            }
        }
        assert_eq!(
            PAYLOAD.origin(&stream(9, 0, 64), 9),
            None,
            "connection 9 does not exist"
        );
        assert_eq!(PAYLOAD.origin(&[0; 64], 15_000), None);
        assert_eq!(
            PAYLOAD.origin(&stream(9, 0, 7), 15_000),
            None,
            "seven bytes are too few"
        );
    }

    #[test]
    fn different_seeds_make_different_bytes() {
        let mut other = [0; 64];
        Payload::new(2).fill(0, 0, &mut other);
        let mut one = [0; 64];
        Payload::new(1).fill(0, 0, &mut one);
        assert_ne!(one, other);
    }

    #[test]
    fn random_numbers_are_evenly_spread() {
        let mut rng = Rng::new(1, 1);
        let mut counts = [0; 10];
        let mut sum = 0.0;
        for _ in 0..100_000 {
            counts[rng.below(10) as usize] += 1;
            sum += rng.fraction();
        }
        for count in counts {
            assert!((9_500..10_500).contains(&count), "{counts:?}");
        }
        assert!((sum / 100_000.0 - 0.5).abs() < 0.01, "{sum}");
    }
}
