//! Which steps are timed: prompts at both sides of every tile, prompts behind contexts, decode batches, and mixtures.
//!
//! ```text
//!   fitted     prompts alone     PROMPT_ENDS and one token more    the staircase of the matrix products
//!              behind contexts   ATTENDING x CONTEXTS              attention of prompts
//!              decode            BATCH_ENDS and one more x LENGTHS the staircase of the graphs, and reading KV
//!                                1..FEW x FEW_LENGTHS              how decode attention is cut up
//!              mixed             MIXED_PROMPTS x MIXED_BATCHES     what both cost beside each other
//!   held out   drawn             as many of each kind as DRAWN, sizes spread evenly in their logarithm
//!   both       LONG, LONG_*, MORE_LONG, DRAWN_LONG   the same where the model's window is longer
//! ```
//!
//! A step with prompts follows a short decode run, as it does while a server serves: a card that does nothing but prefill lowers its clock, and takes
//! a tenth longer for the same prompt. What is left of that is known ([`super::settle`]), and taken out.
//!
//! Equal steps with prompts differ by 2 %, and those that follow each other by less: a card drifts. They are therefore timed in rounds over the grid,
//! half a minute apart or more.

use super::step_fit::StepPoint;
use super::timed::{Timed, TimedSteps, median, median_of};
use crate::backend::Backend;
use devices::StepTotals;
use engine::device::{PrefillChunk, StepShape};
use kernels::mix::mix64;

/// Most tokens before the products take a tile more, or another algorithm: with one token more, every number of rows that passes are padded to.
const PROMPT_ENDS: [u32; 31] = [
    1, 4, 8, 16, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 448, 512, 640, 768, 896, 1_024,
    1_152, 1_280, 1_536, 1_792, 2_048, 2_560, 3_072, 4_096, 5_120, 6_144, 8_192,
];
/// Tokens of prompts behind contexts, and the contexts.
const ATTENDING: [u32; 12] = [8, 24, 40, 56, 88, 128, 200, 256, 384, 512, 1_024, 2_048];
const CONTEXTS: [u32; 8] = [256, 512, 1_024, 1_400, 1_700, 2_048, 2_500, 3_000];
/// Contexts beyond most windows of 4,096, and the prompts and batches that have them. None is a power of two, for sessions' are not.
const LONG: [u32; 5] = [9_100, 20_300, 33_500, 61_700, 98_500];
const LONG_PROMPTS: [u32; 5] = [24, 120, 250, 500, 2_048];
/// Prompts of other numbers of tiles behind some of these: between those above and beyond them. Behind the longest a pass of 8,192 tokens takes 1.6 s, and
/// says no more than behind 61,700.
const MORE_LONG: [(u32, &[u32]); 4] = [
    (640, &[9_100, 33_500]),
    (1_250, &[9_100, 33_500]),
    (3_700, &[9_100, 33_500]),
    (8_192, &[9_100, 20_300, 33_500, 61_700]),
];
const LONG_BATCHES: [u32; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 12];
/// Most sequences of a graph, or before the products take another algorithm.
const BATCH_ENDS: [u32; 15] = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 80, 96, 128, 160, 256];
/// KV tokens of each sequence; the first of the others for a sequence more.
const LENGTHS: [u32; 5] = [1_024, 256, 512, 2_200, 3_900];
/// Up to so many sequences, each number is timed at two lengths: their attention is cut up in ways that differ most.
const FEW: u32 = 40;
const FEW_LENGTHS: [u32; 2] = [1_024, 2_600];
/// Prompt tokens and sequences of mixtures; each sequence with 1,024 tokens.
const MIXED_PROMPTS: [u32; 6] = [16, 120, 200, 480, 1_024, 1_500];
const MIXED_BATCHES: [u32; 7] = [1, 3, 8, 12, 16, 32, 128];
pub(super) const MIXED_LENGTH: u32 = 1_024;
/// Shapes of each kind that are drawn, and held out.
const DRAWN: u64 = 20;
const DRAWN_LONG: u64 = 8;
/// Rounds over the steps with prompts.
pub(super) const ROUNDS: u32 = 3;
/// Steps with prompts that take longer are timed in the first round alone, twice: a card drifts while they run, and they say the least \[ns\].
pub(super) const ONE_ROUND_FROM: u64 = 250_000_000;
/// Steps of a timed decode run.
pub(super) const DECODE_STEPS: u32 = 8;

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
    let mut shapes: Vec<StepShape> = Vec::new();
    for end in PROMPT_ENDS {
        shapes.extend([end, end + 1].map(|tokens| prompts(split(tokens, limits.context))));
    }
    for tokens in ATTENDING {
        let behind = |context| prompts(vec![PrefillChunk { tokens, context }]);
        shapes.extend(CONTEXTS.map(behind));
    }
    for context in LONG {
        let behind = |tokens| prompts(vec![PrefillChunk { tokens, context }]);
        shapes.extend(LONG_PROMPTS.map(behind));
        let more = MORE_LONG.iter().filter(|more| more.1.contains(&context));
        shapes.extend(more.map(|more| behind(more.0)));
        shapes.extend(LONG_BATCHES.map(|batch| decode(batch, context)));
    }
    for end in BATCH_ENDS {
        shapes.extend(LENGTHS.map(|length| decode(end, length)));
        shapes.push(decode(end + 1, LENGTHS[0]));
    }
    for few in 1..=FEW {
        shapes.extend(FEW_LENGTHS.map(|length| decode(few, length)));
    }
    for tokens in MIXED_PROMPTS {
        let chunk = PrefillChunk { tokens, context: 0 };
        shapes.extend(MIXED_BATCHES.map(|batch| StepShape {
            prefill: vec![chunk],
            ..decode(batch, MIXED_LENGTH)
        }));
    }
    let drawn = (0..DRAWN).flat_map(|number| {
        let mut draw = Draw(number << 32);
        let prompt = draw.prompts();
        let (batch, length) = (draw.between(1, 256), draw.between(200, 4_000));
        let chunks = draw.prompts();
        let (beside, at) = (draw.between(1, 128), draw.between(200, 3_000));
        [
            prompts(prompt),
            decode(batch, length),
            StepShape {
                prefill: chunks,
                ..decode(beside, at)
            },
        ]
    });
    let long = (DRAWN..DRAWN + DRAWN_LONG).flat_map(|number| {
        let mut draw = Draw(number << 32);
        let [tokens, context] = [draw.between(8, 2_048), draw.between(4_200, 110_000)];
        let [batch, length] = [draw.between(1, 12), draw.between(4_200, 110_000)];
        let chunk = PrefillChunk { tokens, context };
        [
            prompts(vec![chunk]),
            decode(batch, length),
            StepShape {
                prefill: vec![chunk],
                ..decode(batch.min(4), length / 4)
            },
        ]
    });
    let fitted = shapes.into_iter().map(|shape| (shape, false));
    let mut all: Vec<_> = fitted
        .chain(drawn.chain(long).map(|shape| (shape, true)))
        .filter(|(shape, _)| fits(shape, limits))
        .collect();
    // What lies within two shapes' limits alike is timed once.
    let mut seen: Vec<StepShape> = Vec::new();
    all.retain(|(shape, _)| {
        let new = !seen.contains(shape);
        seen.push(shape.clone());
        new
    });
    all
}

fn prompts(prefill: Vec<PrefillChunk>) -> StepShape {
    StepShape {
        prefill,
        ..StepShape::default()
    }
}

fn decode(batch: u32, length: u32) -> StepShape {
    StepShape {
        decode_seqs: batch,
        decode_kv_tokens: u64::from(batch) * u64::from(length),
        ..StepShape::default()
    }
}

/// `tokens` as prompts of at most `context` tokens, evenly.
fn split(tokens: u32, context: u32) -> Vec<PrefillChunk> {
    let count = tokens.div_ceil(context.max(1)).max(1);
    (0..count)
        .map(|place| PrefillChunk {
            tokens: tokens / count + u32::from(place < tokens % count),
            context: 0,
        })
        .collect()
}

/// Numbers by address, so that the shapes held out are the same on every machine.
struct Draw(u64);

impl Draw {
    /// From `low` to `high`, evenly in the logarithm.
    fn between(&mut self, low: u32, high: u32) -> u32 {
        self.0 += 1;
        let share = mix64(self.0) as f64 / u64::MAX as f64;
        let (low_log, high_log) = (f64::from(low).ln(), f64::from(high).ln());
        ((low_log + (high_log - low_log) * share).exp().round() as u32).clamp(low, high)
    }

    /// One prompt, or two or three short ones.
    fn prompts(&mut self) -> Vec<PrefillChunk> {
        let count = self.between(1, 4).min(3);
        let most = if count == 1 { 2_048 } else { 256 };
        (0..count)
            .map(|_| PrefillChunk {
                tokens: self.between(8, most),
                context: self.between(1, 2_000) - 1,
            })
            .collect()
    }
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

/// What is timed between two rounds.
pub type Between<'a, B> =
    dyn FnMut(&mut Timed<'_, B>, &mut dyn FnMut(&str)) -> Result<(), String> + 'a;

/// Times every step of the grid, and `between` behind the first round; `progress` hears how far it is.
///
/// # Errors
/// What the device says.
pub fn time<B: Backend>(
    timed: &mut Timed<'_, B>,
    limits: Limits,
    progress: &mut dyn FnMut(&str),
    between: &mut Between<'_, B>,
) -> Result<Vec<StepPoint>, String> {
    let grid = grid(limits);
    let mut times: Vec<Vec<u64>> = vec![Vec::new(); grid.len()];
    let long = |times: &[u64]| times.iter().min() > Some(&ONE_ROUND_FROM);
    // Prompt tokens of the shape that was timed last; of what was timed before nothing is known.
    let mut behind = u32::MAX;
    for round in 0..ROUNDS {
        for (place, ((shape, _), times)) in grid.iter().zip(&mut times).enumerate() {
            if place % 16 == 0 {
                progress(&format!(
                    "steps, round {} of {ROUNDS}, {place} of {} shapes",
                    round + 1,
                    grid.len()
                ));
            }
            if shape.prefill.is_empty() {
                if round == 0 {
                    times.push(decode_step(timed, shape)?);
                    behind = 0;
                }
                continue;
            }
            if round > 0 && long(times) {
                continue;
            }
            times.extend(prompt_steps(timed, shape, behind)?);
            behind = shape.prefill_tokens();
        }
        if round == 0 {
            between(timed, progress)?;
            behind = u32::MAX;
        }
    }
    let points = grid.iter().zip(&mut times);
    Ok(points
        .map(|((shape, held_out), times)| StepPoint {
            totals: mean_totals(shape),
            nanos: median(times),
            held_out: *held_out,
            load_ppm: 0,
        })
        .collect())
}

/// Time of a decode step: the mean of a run, in which each follows the other without a pause.
fn decode_step<B: Backend>(timed: &mut Timed<'_, B>, shape: &StepShape) -> Result<u64, String> {
    let steps = TimedSteps {
        shape: shape.clone(),
        count: DECODE_STEPS,
    };
    let nanos = median_of(3, || Ok(timed.steps(&steps)?.nanos()))?;
    Ok(nanos / u64::from(DECODE_STEPS))
}

/// Times of a step with prompts in one round, after one of `behind` prompt tokens. The first is not counted: its load was another shape's.
fn prompt_steps<B: Backend>(
    timed: &mut Timed<'_, B>,
    shape: &StepShape,
    behind: u32,
) -> Result<[u64; 2], String> {
    let step = TimedSteps {
        shape: shape.clone(),
        count: 1,
    };
    let before = TimedSteps {
        shape: decode(1, MIXED_LENGTH),
        count: DECODE_STEPS,
    };
    if behind > shape.prefill_tokens() {
        timed.steps(&before)?;
    }
    timed.steps(&step)?;
    let mut times = [0; 2];
    for nanos in &mut times {
        timed.steps(&before)?;
        *nanos = timed.steps(&step)?.nanos();
    }
    Ok(times)
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
        assert!(shapes.len() > 150, "{}", shapes.len());
        for (shape, _) in &shapes {
            assert!(shape.kv_tokens() <= LIMITS.kv_tokens, "{shape:?}");
            assert!(
                shape.prefill.iter().all(|c| c.tokens + c.context <= 4_096),
                "{shape:?}"
            );
        }
        // 256 sequences of 1,024 tokens are 262,144.
        assert!(!shapes.iter().any(|(s, _)| s.decode_kv_tokens == 262_144));
        // 8,192 tokens are two prompts of what a context holds.
        assert!(
            shapes
                .iter()
                .any(|(s, _)| s.prefill == split(8_192, 4_096) && s.prefill.len() == 2)
        );
    }

    #[test]
    fn long_windows_are_timed_where_there_are_any() {
        let long = |context| {
            let shapes = grid(Limits { context, ..LIMITS });
            let behind = shapes.iter().filter(|(shape, _)| {
                let mut chunks = shape.prefill.iter();
                chunks.any(|chunk| chunk.context > 4_096)
            });
            let (held, fitted): (Vec<_>, Vec<_>) = behind.partition(|(_, held_out)| *held_out);
            [held.len(), fitted.len()]
        };
        assert_eq!(long(4_096), [0, 0]);
        // Eight are drawn, and with sequences beside them eight more; five prompts behind five contexts are fitted, and ten more.
        assert_eq!(long(131_072), [16, 35]);
    }

    #[test]
    fn both_sides_of_a_tile_are_fitted() {
        let shapes = grid(LIMITS);
        let fitted = |shape: StepShape| shapes.contains(&(shape, false));
        assert!(fitted(prompts(split(1_024, 4_096))) && fitted(prompts(split(1_025, 4_096))));
        assert!(fitted(decode(32, 1_024)) && fitted(decode(33, 1_024)));
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
        for (prompts, decodes) in [(true, false), (false, true), (true, true)] {
            let own = shapes.iter().filter(|(shape, _)| {
                shape.prefill.is_empty() != prompts && (shape.decode_seqs > 0) == decodes
            });
            let (held, fitted): (Vec<_>, Vec<_>) = own.partition(|(_, held_out)| *held_out);
            assert!(held.len() >= 12 && fitted.len() >= 12);
        }
    }

    /// Small, so that timing all of it takes a moment.
    const FEW_TOKENS: Limits = Limits {
        kv_tokens: 8_000,
        context: 600,
        step_tokens: 64,
    };

    #[test]
    fn prompts_are_timed_twice_in_each_of_three_rounds_and_decode_steps_in_one() {
        let shapes = grid(FEW_TOKENS);
        let run = DECODE_STEPS;
        // Tokens of the prompts that were timed last, after which lighter ones rest; none behind decode steps, and any in the beginning and
        // behind the first round.
        let (mut launches, mut last) = (0, u32::MAX);
        for round in 0..3 {
            for (shape, _) in &shapes {
                let tokens = shape.prefill_tokens();
                if tokens > 0 {
                    launches += u32::from(last > tokens) * run + 1 + 2 * (run + 1);
                    last = tokens;
                } else if round == 0 {
                    launches += 4 * run;
                    last = 0;
                }
            }
            if round == 0 {
                last = u32::MAX;
            }
        }
        let timed = |steps_left| {
            let mut gpu = FakeGpu::new(64, 64);
            gpu.steps_left = steps_left;
            let mut device = ReplayDevice::new(gpu, DeviceOptions::default()).unwrap();
            let mut timed = Timed::new(&mut device, 4, Bytes(8 << 20));
            time(&mut timed, FEW_TOKENS, &mut |_| (), &mut |_, _| Ok(())).map(|points| points.len())
        };
        assert_eq!(timed(launches), Ok(shapes.len()));
        assert!(timed(launches - 1).is_err());
    }

    #[test]
    fn steps_are_timed_on_any_backend() {
        // 50 us a step, whatever it computes.
        let mut device = ReplayDevice::new(FakeGpu::new(64, 64), DeviceOptions::default()).unwrap();
        let mut timed = Timed::new(&mut device, 4, Bytes(8 << 20));
        let mut heard = Vec::new();
        let points = time(
            &mut timed,
            FEW_TOKENS,
            &mut |what| heard.push(what.to_owned()),
            &mut |_, progress| {
                progress("between");
                Ok(())
            },
        )
        .unwrap();
        assert!(heard[0].starts_with("steps, round 1 of 3, 0 of "));
        let between = heard.iter().position(|what| what == "between").unwrap();
        assert!(heard[between + 1].starts_with("steps, round 2 of 3, 0 of "));
        assert_eq!(heard.iter().filter(|what| *what == "between").count(), 1);
        assert!(heard[heard.len() - 1].starts_with("steps, round 3 of 3, "));
        // A busy machine may leave a pause between the steps of a decode run; a step with prompts is timed alone.
        for point in &points {
            let alone = point.kind() != "decode";
            assert!(
                point.nanos >= 50_000 && (!alone || point.nanos == 50_000),
                "{point:?}"
            );
        }
        assert!(points.len() > 30, "{}", points.len());
    }
}
