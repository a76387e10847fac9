//! Which steps are timed: a grid over prompt tokens and context, batch and KV, and mixtures.
//!
//! The grid is what is fitted; the points held out lie between its lines, and every mixture is one of them.

use super::step_fit::StepPoint;
use super::timed::{Timed, TimedSteps, median_of};
use crate::backend::Backend;
use devices::StepTotals;
use engine::device::{PrefillChunk, StepShape};

/// Prompt tokens of a step, fitted and held out.
const PROMPTS: [u32; 9] = [16, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192];
const PROMPTS_HELD_OUT: [u32; 4] = [96, 384, 1_536, 3_000];
/// Tokens before them.
const CONTEXTS: [u32; 3] = [0, 2_048, 8_192];
const CONTEXTS_HELD_OUT: [u32; 2] = [1_000, 5_000];
/// Sequences of a decode step.
const BATCHES: [u32; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const BATCHES_HELD_OUT: [u32; 4] = [3, 12, 48, 96];
/// KV tokens of each.
const LENGTHS: [u32; 4] = [256, 1_024, 4_096, 8_192];
const LENGTHS_HELD_OUT: [u32; 2] = [700, 3_000];
/// Mixtures: prompt tokens, sequences; each sequence with 1,024 tokens.
const MIXTURES: [(u32, u32); 6] = [
    (128, 4),
    (128, 32),
    (512, 8),
    (1_024, 16),
    (1_024, 64),
    (2_048, 8),
];
/// Steps of a timed decode run.
const DECODE_STEPS: u32 = 8;

/// What the grid must stay within.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Tokens whose KV the pool holds.
    pub kv_tokens: u64,
    /// Tokens of one sequence.
    pub context: u32,
    /// Tokens of one step.
    pub step_tokens: u32,
}

/// The shapes, with whether each is held out.
pub fn grid(limits: Limits) -> Vec<(StepShape, bool)> {
    let prompt = |tokens, context| PrefillChunk { tokens, context };
    let mut shapes = Vec::new();
    for (prompts, contexts, held_out) in [
        (&PROMPTS[..], &CONTEXTS[..], false),
        (&PROMPTS_HELD_OUT[..], &CONTEXTS_HELD_OUT[..], true),
    ] {
        for &tokens in prompts {
            for &context in contexts {
                let shape = StepShape {
                    prefill: vec![prompt(tokens, context)],
                    ..StepShape::default()
                };
                shapes.push((shape, held_out));
            }
        }
    }
    let decode = |batch: u32, length: u32| StepShape {
        decode_seqs: batch,
        decode_kv_tokens: u64::from(batch) * u64::from(length),
        ..StepShape::default()
    };
    for (batches, lengths, held_out) in [
        (&BATCHES[..], &LENGTHS[..], false),
        (&BATCHES_HELD_OUT[..], &LENGTHS_HELD_OUT[..], true),
    ] {
        for &batch in batches {
            shapes.extend(
                lengths
                    .iter()
                    .map(|&length| (decode(batch, length), held_out)),
            );
        }
    }
    shapes.extend(MIXTURES.iter().map(|&(tokens, batch)| {
        let shape = StepShape {
            prefill: vec![prompt(tokens, 512)],
            ..decode(batch, 1_024)
        };
        (shape, true)
    }));
    shapes.retain(|(shape, _)| fits(shape, limits));
    shapes
}

fn fits(shape: &StepShape, limits: Limits) -> bool {
    let longest = shape
        .prefill
        .iter()
        .map(|chunk| chunk.tokens + chunk.context);
    let decode = shape.decode_kv_tokens / u64::from(shape.decode_seqs.max(1));
    let grown = shape.kv_tokens() + u64::from(shape.decode_seqs * DECODE_STEPS);
    longest
        .map(u64::from)
        .chain([decode + u64::from(DECODE_STEPS)])
        .max()
        <= Some(limits.context.into())
        && grown <= limits.kv_tokens
        && shape.prefill_tokens() + shape.decode_seqs <= limits.step_tokens
}

/// Times every step of the grid; `progress` hears how far it is.
///
/// # Errors
/// What the device says.
pub fn time<B: Backend>(
    timed: &mut Timed<'_, B>,
    limits: Limits,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<StepPoint>, String> {
    let grid = grid(limits);
    let mut points = Vec::with_capacity(grid.len());
    for (place, (shape, held_out)) in grid.iter().enumerate() {
        if place % 16 == 0 {
            progress(&format!("steps, {place} of {} shapes", grid.len()));
        }
        points.push(StepPoint {
            totals: mean_totals(shape),
            nanos: one(timed, shape)?,
            held_out: *held_out,
        });
    }
    Ok(points)
}

/// Time of a step: a decode step as the mean of a run, in which each follows the other without a pause.
fn one<B: Backend>(timed: &mut Timed<'_, B>, shape: &StepShape) -> Result<u64, String> {
    let decodes = shape.prefill.is_empty();
    let steps = TimedSteps {
        shape: shape.clone(),
        count: if decodes { DECODE_STEPS } else { 1 },
    };
    let large = shape.prefill_tokens() >= 4_096;
    let repeats = if large || decodes { 3 } else { 5 };
    let nanos = median_of(repeats, || Ok(timed.steps(&steps)?.nanos()))?;
    Ok(nanos / u64::from(steps.count))
}

/// What the mean step of a run counts: a decode run reads one token more of each sequence from step to step.
fn mean_totals(shape: &StepShape) -> StepTotals {
    let mut totals = StepTotals::of(shape);
    if shape.prefill.is_empty() {
        totals.decode_kv_tokens += u64::from(shape.decode_seqs) * u64::from(DECODE_STEPS - 1) / 2;
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DeviceOptions, ReplayDevice};
    use crate::fake::FakeGpu;
    use model::Bytes;

    const LIMITS: Limits = Limits {
        kv_tokens: 131_072,
        context: 4_096,
        step_tokens: 8_192,
    };

    #[test]
    fn the_grid_stays_within_pool_context_and_step() {
        let shapes = grid(LIMITS);
        assert!(shapes.len() > 40, "{}", shapes.len());
        for (shape, _) in &shapes {
            assert!(shape.kv_tokens() <= LIMITS.kv_tokens, "{shape:?}");
            assert!(
                shape.prefill.iter().all(|c| c.tokens + c.context <= 4_096),
                "{shape:?}"
            );
        }
        // 256 sequences of 1,024 tokens are 262,144.
        assert!(!shapes.iter().any(|(s, _)| s.decode_kv_tokens == 262_144));
    }

    #[test]
    fn fitted_and_held_out_points_share_no_shape_and_every_kind_has_both() {
        let shapes = grid(LIMITS);
        for (shape, _) in shapes.iter().filter(|(_, held_out)| *held_out) {
            assert!(
                !shapes
                    .iter()
                    .any(|(other, held_out)| !held_out && other == shape)
            );
        }
        let held = |decode: bool| {
            let own = shapes
                .iter()
                .filter(|(s, _)| s.prefill.is_empty() == decode);
            own.filter(|(_, held_out)| *held_out).count()
        };
        assert!(held(true) >= 4 && held(false) >= 4);
    }

    #[test]
    fn steps_are_timed_on_any_backend() {
        // 50 us a step, whatever it computes.
        let mut device = ReplayDevice::new(FakeGpu::new(64, 64), DeviceOptions::default()).unwrap();
        let mut timed = Timed::new(&mut device, 4, Bytes(8 << 20));
        let points = time(&mut timed, LIMITS, &mut |_| ()).unwrap();
        let near = points
            .iter()
            .filter(|p| (48_000..70_000).contains(&p.nanos))
            .count();
        assert!(near * 2 > points.len(), "{near} of {}", points.len());
    }
}
