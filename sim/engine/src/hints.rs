//! The hint model: it stands between what the trace knows and what a policy is told.
//!
//! ```text
//!   true gap ──► kind (oracle | none | history) ──► noise (bias, spread, drop, delay) ──► Hint
//! ```
//!
//! Random numbers are addressed by (seed, session, turn, purpose), so that every policy is told the same.

use model::{Hint, HintSource, Nanos, SessionId, Time, ToolClass, TurnIndex};

/// What policies are told about waits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HintConfig {
    /// Where hints come from.
    pub kind: HintKind,
    /// How wrong they are.
    pub noise: HintNoise,
    /// Seed of the noise.
    pub seed: u64,
}

/// Where hints come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintKind {
    /// The client knows: the true gap.
    Oracle,
    /// Nobody says anything.
    None,
    /// Quantiles of the waits of the same tool class that have ended so far.
    History,
}

/// How wrong hints are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HintNoise {
    /// The expected wait is multiplied by this.
    pub bias: f64,
    /// And by a lognormal factor with this sigma.
    pub sigma: f64,
    /// Probability that `IO_WAIT` never arrives.
    pub drop: f64,
    /// Signals arrive this much later.
    pub delay: Nanos,
}

impl Default for HintNoise {
    fn default() -> Self {
        Self {
            bias: 1.0,
            sigma: 0.0,
            drop: 0.0,
            delay: Nanos::ZERO,
        }
    }
}

/// What a draw is for. A new purpose changes no other draw.
#[derive(Clone, Copy)]
enum Purpose {
    Drop = 1,
    SpreadRadius = 2,
    SpreadAngle = 3,
}

/// The model, and what it has learned.
#[derive(Clone, Debug)]
pub(crate) struct Hints {
    config: HintConfig,
    history: Vec<History>,
}

impl Hints {
    pub(crate) fn new(config: HintConfig) -> Self {
        Self {
            config,
            history: Vec::new(),
        }
    }

    /// Whether clients know, and say so.
    pub(crate) fn are_exact(&self) -> bool {
        self.config.kind == HintKind::Oracle
    }

    /// How much later signals arrive.
    pub(crate) fn delay(&self) -> Nanos {
        self.config.noise.delay
    }

    /// Whether the `IO_WAIT` after this turn is lost.
    pub(crate) fn drops(&self, session: SessionId, turn: TurnIndex) -> bool {
        let p = self.config.noise.drop;
        p > 0.0 && self.uniform(session, turn, Purpose::Drop) < p
    }

    /// What is said about a wait that began at `since` and will last `gap`, as far as the client knows.
    pub(crate) fn hint(
        &self,
        session: SessionId,
        turn: TurnIndex,
        tool: ToolClass,
        since: Time,
        gap: Option<Nanos>,
    ) -> Option<Hint> {
        let (low, mid, high, source) = match self.config.kind {
            HintKind::None => return None,
            HintKind::Oracle => (gap?, gap?, gap?, HintSource::Client),
            HintKind::History => {
                let history = self.history.get(tool.index())?;
                let quantile = |q| history.quantile(q);
                (
                    quantile(0.1)?,
                    quantile(0.5)?,
                    quantile(0.9)?,
                    HintSource::History,
                )
            }
        };
        let factor = self.factor(session, turn);
        let at = |span: Nanos| {
            if (factor - 1.0).abs() < f64::EPSILON {
                since + span
            } else {
                since + Nanos::from_secs_f64(span.as_secs_f64() * factor)
            }
        };
        Some(Hint {
            returns_at: at(mid),
            early: at(low),
            late: at(high),
            source,
        })
    }

    /// A wait of class `tool` has ended after `gap`.
    pub(crate) fn learn(&mut self, tool: ToolClass, gap: Nanos) {
        if self.config.kind == HintKind::History {
            if self.history.len() <= tool.index() {
                self.history.resize_with(tool.index() + 1, History::default);
            }
            self.history[tool.index()].add(gap);
        }
    }

    fn factor(&self, session: SessionId, turn: TurnIndex) -> f64 {
        let HintNoise { bias, sigma, .. } = self.config.noise;
        if sigma == 0.0 {
            return bias;
        }
        // Box-Muller; the radius draw is kept off zero.
        let radius = 1.0 - self.uniform(session, turn, Purpose::SpreadRadius);
        let angle = self.uniform(session, turn, Purpose::SpreadAngle);
        let normal =
            libm::sqrt(-2.0 * libm::log(radius)) * libm::cos(std::f64::consts::TAU * angle);
        bias * libm::exp(sigma * normal)
    }

    /// Uniform in [0, 1), by address.
    fn uniform(&self, session: SessionId, turn: TurnIndex, purpose: Purpose) -> f64 {
        let address = (u64::from(session.0) << 32) | u64::from(turn.0);
        let mixed = mix64(mix64(self.config.seed ^ (purpose as u64) << 56) ^ address);
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A number that looks random, by address: SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014).
pub fn mix64(x: u64) -> u64 {
    let z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Waits of one class in buckets whose widths grow by an eighth: quantiles within 13 %, at a fixed cost.
#[derive(Clone, Debug)]
struct History {
    buckets: Vec<u32>,
    count: u32,
}

impl Default for History {
    fn default() -> Self {
        Self {
            buckets: vec![0; Self::BUCKETS],
            count: 0,
        }
    }
}

impl History {
    /// Eight to a power of two, from 1 ns to beyond a year.
    const BUCKETS: usize = 64 * 8;
    /// Fewer waits than this say nothing.
    const ENOUGH: u32 = 5;

    fn add(&mut self, gap: Nanos) {
        self.buckets[Self::bucket(gap)] += 1;
        self.count += 1;
    }

    fn bucket(gap: Nanos) -> usize {
        let ns = gap.0.max(8);
        let power = 63 - ns.leading_zeros() as usize;
        power * 8 + ((ns >> (power - 3)) & 7) as usize
    }

    fn quantile(&self, q: f64) -> Option<Nanos> {
        if self.count < Self::ENOUGH {
            return None;
        }
        let rank = (q * f64::from(self.count)) as u32;
        let mut seen = 0;
        let at = self.buckets.iter().position(|&n| {
            seen += n;
            seen > rank
        })?;
        let (power, eighth) = (at / 8, at as u64 % 8);
        Some(Nanos((8 + eighth) << (power - 3)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(kind: HintKind, noise: HintNoise) -> Hints {
        Hints::new(HintConfig {
            kind,
            noise,
            seed: 7,
        })
    }

    fn ask(hints: &Hints, session: u32) -> Option<Hint> {
        hints.hint(
            SessionId(session),
            TurnIndex(0),
            ToolClass(0),
            Time(100),
            Some(Nanos(1_000_000)),
        )
    }

    #[test]
    fn an_oracle_without_noise_says_the_truth() {
        let hint = ask(&hints(HintKind::Oracle, HintNoise::default()), 3).expect("a hint");
        assert_eq!(hint.returns_at, Time(1_000_100));
    }

    #[test]
    fn bias_scales_the_wait_and_not_its_beginning() {
        let noise = HintNoise {
            bias: 2.0,
            ..HintNoise::default()
        };
        assert_eq!(
            ask(&hints(HintKind::Oracle, noise), 3)
                .expect("a hint")
                .returns_at,
            Time(2_000_100)
        );
    }

    #[test]
    fn spread_has_the_median_of_the_truth() {
        let noise = HintNoise {
            sigma: 0.5,
            ..HintNoise::default()
        };
        let hints = hints(HintKind::Oracle, noise);
        let late = (0..2000).filter(|&s| ask(&hints, s).expect("a hint").returns_at.0 > 1_000_100);
        // Binomial(2000, 1/2): mean 1,000, sd 22.4; four of them is 90.
        assert!(late.count().abs_diff(1000) < 90);
    }

    #[test]
    fn history_says_nothing_before_it_has_seen_enough() {
        let mut hints = hints(HintKind::History, HintNoise::default());
        for i in 1..=20u64 {
            assert_eq!(ask(&hints, 0).is_some(), i > 5, "after {} waits", i - 1);
            hints.learn(ToolClass(0), Nanos(i * 1000));
        }
        let median = ask(&hints, 0).expect("a hint").returns_at.since(Time(100));
        // Of 1..20 us the rank-10 value is 11 us; its bucket begins at 10,240 ns.
        assert_eq!(median, Nanos(10_240));
    }

    #[test]
    fn drops_happen_as_often_as_asked() {
        let noise = HintNoise {
            drop: 0.25,
            ..HintNoise::default()
        };
        let hints = hints(HintKind::Oracle, noise);
        let lost = (0..4000)
            .filter(|&s| hints.drops(SessionId(s), TurnIndex(1)))
            .count();
        // Binomial(4000, 1/4): mean 1,000, sd 27.4; four of them is 110.
        assert!(lost.abs_diff(1000) < 110, "{lost}");
    }
}
