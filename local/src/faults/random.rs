//! Random numbers of one request. They depend only on the seed, the engine and the number of the request.

use super::engine::Engine;

/// Splitmix64 (Steele, Lea and Flood, 2014), implemented here so that a seed stays valid in all
/// versions.
#[derive(Debug, Clone)]
pub(super) struct Random {
    pub(super) state: u64,
}

impl Random {
    /// Creates the random decisions of one request.
    pub(super) fn of(seed: u64, engine: Engine, request: u64) -> Self {
        let stream = request * 2 + u64::from(engine == Engine::S3);
        let mut random = Self { state: seed };
        let state = random.next() ^ Self { state: stream }.next();
        Self { state }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns true with this probability: never for 0, always for 1.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        const ALL: f64 = 4_294_967_296.0;
        f64::from((self.next() >> 32) as u32) < share * ALL
    }

    /// Returns a number from `least` to `most`, which are small and in this order.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }
}
