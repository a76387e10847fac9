//! Random numbers by address instead of by order.
//!
//! A draw is one block of Philox4x32-10 (Salmon et al., SC 2011): key from seed and domain, counter =
//! (agent, turn, purpose, 0). No state exists, so neither the order of questions nor a new purpose moves
//! any other draw, and runs under different policies see common random numbers.
//!
//! One draw gives one value of any distribution, by inversion or Box-Muller, never by rejection: the count of words
//! used cannot leak from one value into another. Transcendental functions come from `libm`, which computes
//! the same bits on every platform.

use rand_philox::{philox4x32_10, splitmix64};

/// What a stream of draws is for. Domains are independent under one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Domain {
    /// What generated agents do.
    Agents = 1,
    /// When the sessions of a trace without a common clock arrive.
    TraceArrivals = 2,
}

/// What a value is for. The numbers are part of every generated workload: never change or reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Time from the previous arrival.
    Arrival = 0,
    /// Number of turns.
    Turns = 1,
    /// Own tokens of the first prompt.
    FirstPrompt = 2,
    /// Tokens appended to a later prompt.
    Append = 3,
    /// Tokens generated.
    Output = 4,
    /// Wait before a turn.
    Gap = 5,
}

/// All draws of one seed and domain.
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    key: [u32; 2],
}

impl Draws {
    /// The draws of `seed` in `domain`.
    pub fn new(seed: u64, domain: Domain) -> Self {
        // Two rounds of mixing, so that neighbouring seeds and domains do not meet.
        let key = splitmix64(splitmix64(seed).wrapping_add(domain as u64));
        Self {
            key: [key as u32, (key >> 32) as u32],
        }
    }

    /// The draw at an address.
    pub fn at(&self, agent: u32, turn: u32, purpose: Purpose) -> Draw {
        Draw(philox4x32_10([agent, turn, purpose as u32, 0], self.key))
    }
}

/// One draw: 128 random bits, read as a uniform or as a normal value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw([u32; 4]);

impl Draw {
    /// Uniform in (0, 1): a 53-bit grid without its ends.
    pub fn uniform(self) -> f64 {
        unit(self.0[0], self.0[1])
    }

    /// Exponential of mean 1, by inversion.
    pub fn exponential(self) -> f64 {
        -libm::log(self.uniform())
    }

    /// Standard normal, by Box-Muller.
    pub fn normal(self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(unit(self.0[0], self.0[1])));
        radius * libm::cos(std::f64::consts::TAU * unit(self.0[2], self.0[3]))
    }
}

/// The 52 high bits of a word pair, in the middle of their cells: exact, never 0, never 1.
fn unit(low: u32, high: u32) -> f64 {
    let bits = (u64::from(high) << 32) | u64::from(low);
    ((bits >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by an independent implementation of Philox and SplitMix64.
    /// (0, 0, Arrival), (1, 0, Arrival), (0, 1, Gap) of agents under seed 1; (0, 0, Arrival) of trace arrivals.
    const GOLDEN: [[u32; 4]; 4] = [
        [177_581_640, 648_243_116, 2_283_813_688, 157_712_214],
        [1_351_484_264, 3_707_835_329, 1_288_178_158, 3_068_352_691],
        [2_536_372_944, 2_695_905_408, 2_955_612_776, 3_523_983_847],
        [2_229_700_002, 3_185_066_090, 1_761_613_887, 903_523_814],
    ];
    const GOLDEN_EXPONENTIAL: u64 = 0x3ffe_4143_657d_b1e5;
    const GOLDEN_NORMAL: u64 = 0x3ffe_4a6e_338a_d4e2;

    #[test]
    fn the_first_draws_are_frozen() {
        let draws = Draws::new(1, Domain::Agents);
        let words = |agent, turn, purpose| draws.at(agent, turn, purpose).0;
        assert_eq!(words(0, 0, Purpose::Arrival), GOLDEN[0]);
        assert_eq!(words(1, 0, Purpose::Arrival), GOLDEN[1]);
        assert_eq!(words(0, 1, Purpose::Gap), GOLDEN[2]);
        let other = Draws::new(1, Domain::TraceArrivals);
        assert_eq!(other.at(0, 0, Purpose::Arrival).0, GOLDEN[3]);
        assert_eq!(
            draws.at(0, 0, Purpose::Arrival).exponential().to_bits(),
            GOLDEN_EXPONENTIAL
        );
        assert_eq!(
            draws.at(0, 0, Purpose::Arrival).normal().to_bits(),
            GOLDEN_NORMAL
        );
    }

    #[test]
    fn a_uniform_never_reaches_its_ends() {
        assert!(unit(0, 0) > 0.0);
        assert!(unit(u32::MAX, u32::MAX) < 1.0);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let draws = Draws::new(7, Domain::Agents);
        let n = 20_000;
        let mean = |f: fn(Draw) -> f64| {
            (0..n).map(|i| f(draws.at(i, 0, Purpose::Gap))).sum::<f64>() / f64::from(n)
        };
        // Standard errors: 0.29, 1, 1 and 1.41 over sqrt(20,000) = 141; five of them are allowed.
        assert!((mean(Draw::uniform) - 0.5).abs() < 5.0 * 0.29 / 141.0);
        assert!((mean(Draw::exponential) - 1.0).abs() < 5.0 / 141.0);
        assert!(mean(Draw::normal).abs() < 5.0 / 141.0);
        assert!((mean(|d| d.normal() * d.normal()) - 1.0).abs() < 5.0 * 1.42 / 141.0);
    }
}
