//! When each message is due, calculated without the code of the generator.

use mio_echo_load::{Arrivals, Plan};

/// Returns when the messages of slot `slot` are due, in nanoseconds from the start of the schedule: without end.
pub(crate) fn due_ns(plan: &Plan, rate: f64, slot: usize) -> Box<dyn Iterator<Item = u64>> {
    let connections = plan.connections;
    let apart_ns = 1e9 / rate;
    match plan.arrivals {
        Arrivals::Fixed => {
            let numbers = (slot..).step_by(connections);
            Box::new(numbers.map(move |n| (n as f64 * apart_ns) as u64))
        }
        Arrivals::Poisson => {
            let mut random = Random::of(plan.seed, slot as u64);
            let mean_ns = apart_ns * connections as f64;
            let mut due_ns = 0.0;
            Box::new(std::iter::from_fn(move || {
                due_ns -= mean_ns * random.fraction().ln();
                Some(due_ns as u64)
            }))
        }
    }
}

/// Random numbers: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Makes random numbers. Each pair of seed and purpose gives a different sequence.
    pub(crate) fn of(seed: u64, purpose: u64) -> Random {
        Random(mixed(seed ^ mixed(purpose.wrapping_mul(STEP))))
    }

    /// Returns a number from 0 to `below` - 1.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(below)) >> 64) as u64
    }

    /// Returns one of the values.
    pub(crate) fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }

    /// Returns a number greater than 0 and at most 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mixed(self.0)
    }
}

fn mixed(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
