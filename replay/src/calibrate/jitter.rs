//! What steps of one class differ by, whatever ran before them: the standard deviation that the throttle leaves.
//!
//! Where load has lasted a card lowers its clock in turns, and drifts for a tenth of a second and more: neither is jitter, which is drawn for each run of
//! steps by itself. Only what follows a rest counts.

use super::bursts::RanStep;
use super::throttle::{Bursts, Sample};
use devices::{Jitter, StepCost, Throttle};
use model::{Nanos, Time};

/// A card rests if it computes nothing for so long.
const REST: Nanos = Nanos(100_000_000);
/// After a rest it keeps out of turns for so long.
const STEADY: Nanos = Nanos(800_000_000);

/// The standard deviations that the throttle leaves, of steps with prompts and without.
pub fn jitter(bursts: &[RanStep], cost: &StepCost, throttle: &Throttle) -> Jitter {
    let bursts = Bursts::of(bursts, cost);
    let (felt, steady) = (bursts.felt(throttle), steady(&bursts.ran));
    let spread_ppm = |prompts: bool| {
        let (mut squares, mut free) = (0.0, 0);
        let classes = bursts.classes.iter();
        for (_, own) in classes.filter(|([tokens, _], _)| (*tokens > 0) == prompts) {
            let own = own.iter().filter(|at| steady[**at]);
            let left: Vec<f64> = own.map(|at| bursts.left(*at, throttle, &felt)).collect();
            let mean = left.iter().sum::<f64>() / left.len().max(1) as f64;
            squares += left.iter().map(|left| (left - mean).powi(2)).sum::<f64>();
            // Each class has a mean of its own, and all of them one slow-down.
            free += left.len().saturating_sub(1);
        }
        ((squares / free.saturating_sub(1).max(1) as f64).sqrt() * 1e6).round() as u32
    };
    Jitter {
        prompt_ppm: spread_ppm(true),
        decode_ppm: spread_ppm(false),
    }
}

/// Whether each step began soon after a rest.
fn steady(ran: &[Sample]) -> Vec<bool> {
    let (mut since, mut before) = (Time(0), None);
    let each = ran.iter().map(|step| {
        if before.is_none_or(|end| step.start.since(end) > REST) {
            since = step.start;
        }
        before = Some(step.end);
        step.start.since(since) <= STEADY
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::super::throttle::fit;
    use super::super::throttle::tests::{TRUTH, cost, history};
    use super::*;

    #[test]
    fn what_steps_differ_by_is_found_again_beside_the_throttle_and_turns_of_the_clock() {
        for turns in [false, true] {
            let history = history(&TRUTH, 1.03, turns);
            let found = jitter(&history, &cost(), &fit(&history, &cost()));
            // Noise is even over 1.07 % of the time, a standard deviation of 0.31 %.
            for ppm in [found.prompt_ppm, found.decode_ppm] {
                assert!(ppm.abs_diff(3_100) < 300, "{turns} {found:?}");
            }
        }
    }
}
