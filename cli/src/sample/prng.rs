//! A small generator of pseudo-random numbers, splitmix64 (Steele, Lea and Flood, 2014).
//!
//! It is our own rather than a crate's because a sample must stay the same, byte for byte, in all
//! versions.

/// The step between two states: 2^64 divided by the golden ratio, made odd.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A stream of numbers determined by its seed.
#[derive(Debug, Clone)]
pub struct Prng {
    state: u64,
}

impl Prng {
    /// Creates the stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Creates the `index`-th stream of a seed. Row `n` of a sample uses stream `n`, so that a
    /// longer sample begins with the shorter one's rows.
    pub fn stream(seed: u64, index: u64) -> Self {
        let seed = mix(seed.wrapping_add(STEP));
        Self::new(mix(seed ^ index.wrapping_mul(STEP)))
    }

    /// Returns 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// Returns a number below `bound`, which must be above zero. Its bias, at most `bound` in 2^32,
    /// does not matter in a sample.
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// Returns one of the elements, of which there must be at least one.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let count = u32::try_from(of.len()).expect("a table of a few hundred elements");
        of[self.below(count) as usize]
    }

    /// Returns true `times` in a `thousand`.
    pub fn per_mille(&mut self, times: u32) -> bool {
        self.below(1000) < times
    }
}

/// The finishing step of splitmix64: a bijection that spreads every bit over all others.
pub fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of seed 1234567, as in the reference implementation.
    #[test]
    fn is_splitmix64() {
        let mut prng = Prng::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| prng.next()).collect();
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn stays_below_its_bound() {
        let mut prng = Prng::new(7);
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            seen[prng.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
    }

    #[test]
    fn streams_of_one_seed_differ() {
        let first = Prng::stream(42, 0).next();
        assert_ne!(first, Prng::stream(42, 1).next());
        assert_ne!(first, Prng::stream(43, 0).next());
        assert_eq!(first, Prng::stream(42, 0).next());
    }
}
