//! What steps of one kind differ by that do as much: no two of a real card take the same time.
//!
//! ```text
//!   time of a step run = what it costs x (1 + spread x z)      z: normal, drawn once a run of steps, by its number and that of the draw
//! ```
//!
//! A per cent is little for a step and for the mean of many. It is not little for a scheduler at its limit: who is preempted first, and whose KV
//! leaves, hangs on who came a millisecond earlier, and everything behind it on that. One simulation is one course of many; several *draws* show
//! which results hold in all of them, as several runs of a GPU do.
//!
//! Once a run, and not once a step: recorded runs of one step differ from what they cost by as much as runs of twenty (1.0 % beside 0.8 to 1.0), so
//! that what makes steps differ lasts longer than a step.
//!
//! Drawn by address: as long as two policies hand over the same operations, these get the same factors. Integers
//! throughout, and the same on every machine: z is a sum of eight uniform numbers, which is normal to within what a few per cent can show and never
//! beyond 4.9.
//!
//! **Absent on purpose:** spread of copies, which recordings do not tell from their error of half a per cent, and whatever lasts from step to step beyond the throttle.

use engine::mix64;
use model::OpId;
use serde::Deserialize;

/// Standard deviations of the time of steps, as shares of it. The default: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jitter {
    /// Of steps with prompts \[ppm\].
    pub prompt_ppm: u32,
    /// Of steps without \[ppm\].
    pub decode_ppm: u32,
}

/// One.
const WHOLE: i64 = 1_000_000;
/// Shorter than this no step gets \[ppm of its cost\].
const LEAST: i64 = 100_000;

impl Jitter {
    /// Whether steps differ at all.
    pub fn is_on(self) -> bool {
        self != Self::default()
    }

    /// What a run of steps takes in the draw with this number, of what it costs \[ppm\].
    pub(crate) fn factor_ppm(self, draw: u32, op: OpId, prompts: bool) -> u64 {
        let spread = if prompts {
            self.prompt_ppm
        } else {
            self.decode_ppm
        };
        let normal_ppm = normal_ppm(mix64(u64::from(draw)) ^ op.0);
        let off = i64::from(spread) * normal_ppm / WHOLE;
        (WHOLE + off).max(LEAST) as u64
    }
}

/// A normal number by address, in millionths: eight uniform ones of 16 bits, whose sum has the mean 4 and the variance 8/12.
fn normal_ppm(address: u64) -> i64 {
    let parts = [address, !address].map(|address| {
        let word = mix64(address);
        (0..4)
            .map(|part| (word >> (16 * part) & 0xffff) as i64)
            .sum::<i64>()
    });
    // The middle is 4 x 65,535; sqrt(12/8) is 1.224745.
    (parts[0] + parts[1] - 262_140) * 1_224_745 / 65_536
}

#[cfg(test)]
mod tests {
    use super::*;

    const JITTER: Jitter = Jitter {
        prompt_ppm: 15_000,
        decode_ppm: 5_000,
    };

    /// Mean and standard deviation of the factors of one draw, in ppm of the cost.
    fn moments(draw: u32, prompts: bool) -> [f64; 2] {
        let count = 100_000;
        let off = |op| JITTER.factor_ppm(draw, OpId(op), prompts) as f64 - 1e6;
        let mean = (0..count).map(off).sum::<f64>() / count as f64;
        let square = |op| (off(op) - mean).powi(2);
        let variance = (0..count).map(square).sum::<f64>() / count as f64;
        [mean, variance.sqrt()]
    }

    #[test]
    fn factors_have_the_spread_that_was_measured_and_no_bias() {
        for draw in [1, 2, 77] {
            for (prompts, spread) in [(true, 15_000.0), (false, 5_000.0)] {
                let [mean, deviation] = moments(draw, prompts);
                // Three standard errors of 100,000 draws are a hundredth of the spread.
                assert!(mean.abs() < spread / 100.0, "{mean}");
                assert!((deviation / spread - 1.0).abs() < 0.01, "{deviation}");
            }
        }
    }

    #[test]
    fn draws_differ_and_each_is_the_same_again() {
        let of = |draw| (0..64).map(move |op| JITTER.factor_ppm(draw, OpId(op), true));
        assert!(of(1).eq(of(1)));
        let alike = of(1).zip(of(2)).filter(|(a, b)| a == b).count();
        assert!(alike < 4, "{alike}");
    }

    #[test]
    fn a_card_without_spread_is_one_whose_steps_take_what_they_cost() {
        assert_eq!(Jitter::default().factor_ppm(3, OpId(9), true), 1_000_000);
    }
}
