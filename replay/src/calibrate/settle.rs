//! What load the timed steps of the grid had felt: that of all that was timed before them in the same round, in the order and as often as [`super::steps`]
//! does now. Calibrations up to `card-10` timed each shape five times in a row, which is another 0.4 % of a step of some tens of milliseconds at most.

use super::step_fit::StepPoint;
use super::steps::{DECODE_STEPS, MIXED_LENGTH, ONE_ROUND_FROM, ROUNDS};
use devices::{Load, Throttle, Work};
use model::{Nanos, Time};

/// A card has rested after so long \[ns\].
const BETWEEN_ROUNDS: u64 = 3_000_000_000;

/// What is decoded between two timings.
const ONE: Work = Work {
    prompt_tokens: 0,
    decode_seqs: 1,
};

/// Says of each timed step how much longer it took than on a rested card. `points` are in the order in which they were timed.
pub fn settle(points: &mut [StepPoint], throttle: &Throttle) {
    let between = points.iter().find(|point| {
        let totals = &point.totals;
        (totals.prefill_tokens, totals.decode_seqs) == (0, 1)
            && totals.decode_kv_tokens < u64::from(MIXED_LENGTH + DECODE_STEPS)
    });
    let between = between.map_or(0, |point| point.nanos) * u64::from(DECODE_STEPS);
    let (mut load, mut now) = (Load::default(), Time(0));
    let mut felt: Vec<Vec<u32>> = vec![Vec::new(); points.len()];
    for round in 0..ROUNDS {
        let mut behind = u32::MAX;
        for (point, felt) in points.iter().zip(&mut felt) {
            let tokens = point.totals.prefill_tokens;
            if tokens == 0 {
                if round == 0 {
                    // Three runs, and the median is mostly the second.
                    let run = u64::from(DECODE_STEPS) * point.nanos;
                    let middle = Time(now.0 + run + run / 2);
                    felt.push(load.ppm(throttle, middle, Work::of(&point.totals), Nanos(0)));
                    let end = Time(now.0 + 3 * run);
                    load.add(throttle, Work::of(&point.totals), now, end);
                    now = end;
                    behind = 0;
                }
                continue;
            }
            if round > 0 && point.nanos > ONE_ROUND_FROM {
                continue;
            }
            for timing in 0..3 {
                if timing > 0 || behind > tokens {
                    let end = Time(now.0 + between);
                    load.add(throttle, ONE, now, end);
                    now = end;
                }
                if timing > 0 {
                    felt.push(longer(&load, throttle, now, point));
                }
                let end = Time(now.0 + point.nanos);
                load.add(throttle, Work::of(&point.totals), now, end);
                now = end;
            }
            behind = tokens;
        }
        // Behind the first round the link is timed; behind the others the grid begins again with its lightest steps.
        now = Time(now.0 + BETWEEN_ROUNDS);
    }
    for (point, felt) in points.iter_mut().zip(felt) {
        let mean = felt.iter().copied().map(u64::from).sum::<u64>() / felt.len().max(1) as u64;
        point.load_ppm = mean as u32;
    }
}

/// So much longer takes a step with prompts that begins now \[ppm\]. What it takes on a rested card is known as soon as that is: two rounds leave next
/// to nothing.
fn longer(load: &Load, throttle: &Throttle, now: Time, point: &StepPoint) -> u32 {
    (0..2).fold(0, |ppm, _| {
        let rested = (point.nanos as f64 / (1.0 + f64::from(ppm) / 1e6)) as u64;
        load.ppm(throttle, now, Work::of(&point.totals), Nanos(rested))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use devices::StepTotals;

    #[test]
    fn a_long_prompt_was_timed_behind_itself() {
        let point = |prefill_tokens, decode_seqs, nanos| StepPoint {
            totals: StepTotals {
                prefill_tokens,
                decode_seqs,
                decode_kv_tokens: u64::from(decode_seqs) * 1_024,
                ..StepTotals::default()
            },
            nanos,
            held_out: false,
            load_ppm: 0,
        };
        // 28 ms of decode between two timings of a prompt that takes a half-life: x -> (1 + x) / 2 -> half of that; 0, 1/4, 5/16. What is missing of
        // full load there, 3/4 and 11/16, is 1 / 2 ln 2 of that on the average over the prompt. The card has no limit below which it keeps its clock.
        let throttle = Throttle {
            half_life_ns: 28_000_000,
            full_tokens: 512,
            prompt_ppm: 150_000,
            decode_ppm: 60_000,
            ..Throttle::default()
        };
        let mut points = vec![
            point(2_048, 0, 28_000_000),
            point(0, 1, 3_500_000),
            point(0, 32, 5_000_000),
        ];
        settle(&mut points, &throttle);
        let missing = f64::midpoint(3.0 / 4.0, 11.0 / 16.0) / (2.0 * 2.0_f64.ln());
        let want = (150_000.0 * (1.0 - missing)) as u32;
        // On a rested card it takes less than a half-life.
        assert!(
            (want - 2_000..=want).contains(&points[0].load_ppm),
            "{points:?}"
        );
        // Decode behind it: 42 ms later, and 84 + 60 ms.
        let left = [points[1].load_ppm, points[2].load_ppm];
        assert!(
            (13_000..15_000).contains(&left[0]) && left[1] < 2_000,
            "{left:?}"
        );
    }
}
