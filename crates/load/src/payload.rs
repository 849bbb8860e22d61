//! The bytes to send: a function of seed, connection and offset, so that any offset of any stream can be checked
//! without keeping what was sent.
//!
//! A stream is a row of 64-bit words. Each is the connection's number and the word's place in the stream, scrambled by
//! a permutation that can be undone: so eight bytes in a row tell whose they are and where they belong, and an echo
//! that went to the wrong connection is recognised as such. Knows no message and no socket.

/// What every stream of a run is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Payload {
    key: u64,
}

/// Where a word belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
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

    /// The bytes of a stream from this offset on.
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

    /// How many of the bytes are those of the stream from this offset on, up to the first that is not.
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
            // Whole words are compared as one, which is nearly always all there is to do.
            if *chunk != self.word(connection, at / WORD).to_le_bytes() {
                let same = self.matching_in_word(connection, at, chunk);
                return (at - offset) as usize + same;
            }
            at += WORD;
        }
        (at - offset) as usize + self.matching_in_word(connection, at, words.remainder())
    }

    /// The same for bytes that lie within one word.
    #[inline]
    fn matching_in_word(self, connection: u32, offset: u64, bytes: &[u8]) -> usize {
        let word = self.word(connection, offset / WORD).to_le_bytes();
        let (_, expected) = word.split_at((offset % WORD) as usize);
        let same = bytes.iter().zip(expected).take_while(|(a, b)| a == b);
        same.count()
    }

    /// Whose bytes these are, if they are the bytes of one of so many connections' streams. It takes a whole word of
    /// them, which is eight bytes, or up to fifteen when they begin within one.
    pub(crate) fn origin(self, bytes: &[u8], connections: u32) -> Option<Origin> {
        let (sample, _) = bytes.split_at(bytes.len().min(LARGEST_SAMPLE));
        (0..WORD as usize).find_map(|shift| {
            let word = sample.get(shift..shift + WORD as usize)?;
            let id = unmix(u64::from_le_bytes(word.try_into().ok()?)).wrapping_sub(self.key);
            let connection = u32::try_from(id >> INDEX_BITS).ok()?;
            let offset = ((id & INDEX_MASK) * WORD).checked_sub(shift as u64)?;
            let origin = Origin { connection, offset };
            // Any word belongs somewhere. That a corrupt one belongs to a connection that exists, within a plausible
            // stream, happens by chance once in some ten thousand; and then all the other bytes have to agree.
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

/// A generator of random numbers, for sizes and arrivals. SplitMix64 (Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    state: u64,
}

impl Rng {
    /// A sequence of its own for each purpose of each connection.
    pub(crate) fn new(seed: u64, purpose: u64) -> Rng {
        Rng {
            state: scramble(seed ^ scramble(purpose.wrapping_mul(GOLDEN))),
        }
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        scramble(self.state)
    }

    /// From 0 up to, not including, `below`.
    #[inline]
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(below)) >> 64) as u64
    }

    /// Above 0, up to and including 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// Copies the first bytes of a word, as many as there is room for.
#[inline(always)]
fn copy(word: &[u8], to: &mut [u8]) {
    for (to, from) in to.iter_mut().zip(word) {
        *to = *from;
    }
}

/// SplitMix64's finaliser.
#[inline(always)]
fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(FIRST);
    x = (x ^ (x >> 27)).wrapping_mul(SECOND);
    x ^ (x >> 31)
}

/// Half of that, for the words of streams: they have to differ from each other everywhere, and no more. Each step can be
/// undone, so each word has one origin.
#[inline(always)]
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 32)).wrapping_mul(FIRST);
    x ^ (x >> 29)
}

fn unmix(x: u64) -> u64 {
    let x = x ^ (x >> 29) ^ (x >> 58);
    let x = x.wrapping_mul(inverse(FIRST));
    x ^ (x >> 32)
}

/// Of an odd number, modulo 2⁶⁴: each of Newton's steps doubles the number of right bits, and three are right at first.
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

const WORD: u64 = 8;

/// 40 bits of a word's place: 8 TiB of one stream before it repeats, with 24 bits for the connections.
const INDEX_BITS: u32 = 40;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;

/// How many connections a run may make before two have the same bytes.
pub(crate) const MOST_CONNECTIONS: u32 = 1 << (64 - INDEX_BITS);

/// More than one connection moves while one is looked for: 64 GiB.
const LONGEST_STREAM: u64 = 1 << 36;

/// Enough to be sure; the bytes behind them may belong to another connection.
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
    fn each_wrong_byte_is_found_where_it_is() {
        for start in 0..16 {
            for wrong in 0..100 {
                let mut bytes = stream(3, start, 100);
                bytes[wrong] ^= 1;
                assert_eq!(PAYLOAD.matching(3, start, &bytes), wrong);
            }
        }
    }

    #[test]
    fn bytes_tell_whose_they_are() {
        for connection in [0, 1, 14_999] {
            for offset in [0, 1, 13, 64, 1 << 33] {
                let bytes = stream(connection, offset, 15);
                let origin = Origin { connection, offset };
                assert_eq!(PAYLOAD.origin(&bytes, 15_000), Some(origin));
            }
        }
        assert_eq!(PAYLOAD.origin(&stream(9, 0, 64), 9), None, "there is no #9");
        assert_eq!(PAYLOAD.origin(&[0; 64], 15_000), None);
        assert_eq!(PAYLOAD.origin(&stream(9, 0, 7), 15_000), None, "too few");
    }

    #[test]
    fn another_seed_makes_other_bytes() {
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
