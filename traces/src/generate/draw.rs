//! Random numbers by address instead of by order.
//!
//! A draw is one block of Philox4x32-10 (Salmon et al., SC 2011): key from seed and domain, counter =
//! (agent, turn, purpose, index); the index tells draws of one purpose apart and is 0 where there is one. No state exists, so neither the order of questions nor a new purpose moves
//! any other draw, and runs under different policies see common random numbers.
//!
//! One draw gives one value of any distribution, by inversion or Box-Muller, never by rejection: the count of words
//! used cannot leak from one value into another. Transcendental functions come from `libm`, which computes
//! the same bits on every platform.

use rand_philox::{philox4x32_10, splitmix64};

use super::inverse::normal_upper_tail;

/// What a stream of draws is for. Domains are independent under one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Domain {
    /// What generated agents do.
    Agents = 1,
    /// When the sessions of a trace without a common clock arrive.
    TraceArrivals = 2,
    /// What the clients of a mixture send, and when.
    Clients = 3,
    /// Which sessions a resample of a trace has.
    Resampling = 4,
    /// How long the waits of a trace are, where those recorded were no real ones.
    Retiming = 5,
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
    /// Wait before a turn: of a person, or of the tool of that index.
    Gap = 5,
    /// Which of a fleet's behaviours.
    Variant = 6,
    /// Which version of a shared prefix part (turn: the part).
    PrefixVersion = 7,
    /// Length of a shared prefix part (agent: its version, turn: the part).
    PrefixTokens = 8,
    /// Whether a tool or a person is waited for.
    WaitKind = 9,
    /// Number of tools of a turn.
    ToolCount = 10,
    /// Class of the tool of that index.
    ToolClass = 11,
    /// Whether a person approves the tools.
    Approval = 12,
    /// How long that takes.
    ApprovalWait = 13,
    /// Whether the prefix is lost.
    Loss = 14,
    /// How: compaction or rewriting.
    LossKind = 15,
    /// What is left of the context.
    LossRatio = 16,
    /// Longest context of the session.
    ContextMax = 17,
    /// Place of time 0 between two arrivals.
    ArrivalPhase = 18,
    /// Stretch of a recorded arrival process.
    ArrivalBlock = 19,
    /// Share of a client in all arrivals.
    ClientWeight = 20,
    /// Burstiness of a client.
    ClientCv = 21,
    /// Family of a client's intervals.
    ClientLaw = 22,
    /// A session of a resample.
    Resample = 23,
    /// Whether reasoning is missing from a prompt.
    Stripped = 24,
    /// How much of it.
    StrippedTokens = 25,
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
        self.nth(agent, turn, purpose, 0)
    }

    /// The draw at an address that has several: `index` tells them apart.
    pub fn nth(&self, agent: u32, turn: u32, purpose: Purpose, index: u32) -> Draw {
        Draw(philox4x32_10(
            [agent, turn, purpose as u32, index],
            self.key,
        ))
    }
}

/// Key of [`Draw::derived`]: the fractional digits of pi in base 16, so of nothing in particular.
const DERIVED_KEY: [u32; 2] = [0x243f_6a88, 0x85a3_08d3];

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

    /// A draw independent of what this one is read as: for a distribution that first chooses among others.
    #[must_use]
    pub fn derived(self) -> Self {
        Self(philox4x32_10(self.0, DERIVED_KEY))
    }

    /// Which of `weights` (at least one, sum above 0), each as likely as its share of the sum.
    pub fn choose(self, weights: impl Iterator<Item = f64> + Clone) -> usize {
        let sum: f64 = weights.clone().sum();
        let mut left = self.uniform() * sum;
        let mut last = 0;
        for (index, weight) in weights.enumerate() {
            if weight > 0.0 {
                if left < weight {
                    return index;
                }
                last = index;
            }
            left -= weight;
        }
        // Rounding alone leads here.
        last
    }

    /// Standard normal, and the probability of a larger one.
    pub fn normal_and_tail(self) -> (f64, f64) {
        let z = self.normal();
        (z, normal_upper_tail(z))
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
    fn a_choice_follows_its_weights_and_never_takes_a_weight_of_zero() {
        let draws = Draws::new(3, Domain::Agents);
        let weights = [0.0, 3.0, 1.0, 0.0];
        let mut counts = [0_u32; 4];
        for i in 0..10_000 {
            counts[draws
                .at(i, 0, Purpose::ToolClass)
                .choose(weights.iter().copied())] += 1;
        }
        assert_eq!((counts[0], counts[3]), (0, 0));
        // 7,500 expected, standard deviation sqrt(10,000 * 0.75 * 0.25) = 43; five are allowed.
        assert!(counts[1].abs_diff(7_500) < 217, "{counts:?}");
    }

    #[test]
    fn a_derived_draw_and_one_of_another_index_say_nothing_of_the_first() {
        let draws = Draws::new(3, Domain::Agents);
        let (mut derived, mut second) = (0.0, 0.0);
        for i in 0..10_000 {
            let first = draws.at(i, 0, Purpose::Gap);
            let centred = first.uniform() - 0.5;
            derived += centred * (first.derived().uniform() - 0.5);
            second += centred * (draws.nth(i, 0, Purpose::Gap, 1).uniform() - 0.5);
        }
        // Of independent values, a product has standard deviation 1/12, so the sum 100/12 = 8.3; five are allowed.
        assert!(
            derived.abs() < 42.0 && second.abs() < 42.0,
            "{derived} {second}"
        );
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
