//! The link as a run uses it: every copy method, each direction alone, both at once, and beside steps.
//!
//! ```text
//!   T(n blocks) = chunks · c + n · ( pieces · p + bytes / r )        c per chunk, p per piece, r the rate
//! ```
//!
//! With one piece a block (`contiguous`) and with many (`batch`) the same calls move the same bytes: the two slopes give `p` and
//! `r`, and a copy of a single block gives `c`. Other methods have a `p` of their own.
//! Copies of every other size are held out, and judge.
//!
//! A neighbour of the host can slow a direction down for seconds, by 4 to 14 % in two of nineteen calibrations. What is fitted is therefore timed in
//! rounds, a minute apart or more, and their medians count ([`settled`]).

use super::fit::{Point, median};
use super::timed::{Timed, TimedCopy, TimedSteps, median_of};
use super::{BlockShape, METHODS, Measured};
use crate::backend::Backend;
use model::Direction;
use std::fmt::Write as _;

/// Repeats of each timing.
const REPEATS: usize = 5;
/// Sizes that are fitted, in blocks: a single one, and two large ones.
const FITTED: [u32; 3] = [1, 64, 128];
/// Sizes that judge the fit.
const HELD_OUT: [u32; 6] = [2, 3, 8, 16, 48, 100];
/// Blocks of a copy that outlasts what is timed beside it.
const LONG: u32 = 512;

/// A timed copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyPoint {
    /// Its blocks.
    pub blocks: u32,
    /// Its time.
    pub nanos: u64,
    /// Not fitted.
    pub held_out: bool,
}

/// One direction under one method: at least one copy that is fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodTimes {
    /// By size.
    pub points: Vec<CopyPoint>,
    /// Of a block of a large copy \[ns\].
    pub block_ns: f64,
    /// Of a single block \[ns\].
    pub single_ns: f64,
}

/// One direction, beside others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BesideTimes {
    /// Time of a block of a large copy, alone \[ns\].
    pub alone_ns: f64,
    /// Beside the other direction.
    pub other_ns: f64,
    /// Beside decode steps.
    pub decode_ns: f64,
    /// Beside prefill steps.
    pub prefill_ns: f64,
    /// How much longer a decode step is beside it: `beside / alone - 1`.
    pub decode_slowdown: f64,
    /// How much longer a prefill step is.
    pub prefill_slowdown: f64,
}

impl MethodTimes {
    fn of(points: Vec<CopyPoint>) -> Result<Self, String> {
        let fitted: Vec<&CopyPoint> = points.iter().filter(|point| !point.held_out).collect();
        let (Some(single), Some(large)) = (fitted.first(), fitted.last()) else {
            return Err("the pools hold no block".to_owned());
        };
        let slopes = fitted[1..]
            .iter()
            .map(|point| point.nanos as f64 / f64::from(point.blocks));
        Ok(Self {
            block_ns: median(slopes.collect()).unwrap_or(large.nanos as f64),
            single_ns: single.nanos as f64,
            points,
        })
    }
}

/// Times copies of all sizes in one direction.
///
/// # Errors
/// What the device says.
pub fn sizes<B: Backend>(
    timed: &mut Timed<'_, B>,
    direction: Direction,
) -> Result<MethodTimes, String> {
    let mut points = Vec::new();
    for (sizes, held_out) in [(&FITTED[..], false), (&HELD_OUT[..], true)] {
        let largest = timed.blocks_max();
        for &blocks in sizes.iter().filter(|&&blocks| blocks <= largest) {
            let copy = TimedCopy { direction, blocks };
            let nanos = median_of(REPEATS, || Ok(timed.copy(copy)?.nanos()))?;
            points.push(CopyPoint {
                blocks,
                nanos,
                held_out,
            });
        }
    }
    MethodTimes::of(points)
}

/// Times a direction beside the other one and beside steps, and steps beside it.
///
/// # Errors
/// What the device says.
pub fn beside<B: Backend>(
    timed: &mut Timed<'_, B>,
    direction: Direction,
    decode: &TimedSteps,
    prefill: &TimedSteps,
) -> Result<BesideTimes, String> {
    let long = LONG.min(timed.blocks_max());
    let short = long / 4;
    let copy = |direction, blocks| TimedCopy { direction, blocks };
    let per_block = |nanos: u64, blocks: u32| nanos as f64 / f64::from(blocks.max(1));
    let own = copy(direction, short);
    let alone = median_of(REPEATS, || Ok(timed.copy(own)?.nanos()))?;
    let opposite = copy(direction.opposite(), long);
    let other = median_of(
        REPEATS,
        || Ok(timed.all(&[own, opposite], None)?[0].nanos()),
    )?;
    let mut times = BesideTimes {
        alone_ns: per_block(alone, short),
        other_ns: per_block(other, short),
        ..BesideTimes::default()
    };
    for (steps, copied, slowed) in [
        (decode, &mut times.decode_ns, &mut times.decode_slowdown),
        (prefill, &mut times.prefill_ns, &mut times.prefill_slowdown),
    ] {
        // The copy within the steps, then the steps within the copy.
        let step = median_of(REPEATS, || Ok(timed.steps(steps)?.nanos()))?.max(1);
        let cover = |nanos: u64| {
            let count = (2 * nanos * u64::from(steps.count)).div_ceil(step);
            u32::try_from(count).unwrap_or(u32::MAX).clamp(1, 4_096)
        };
        let mut inside = own;
        let mut around = steps.clone();
        if steps.shape.prefill.is_empty() {
            around.count = cover(alone);
        } else {
            // A prefill is a single step: the copy must be the shorter one.
            let fit = u64::from(short) * step / (2 * alone.max(1));
            inside.blocks = u32::try_from(fit).unwrap_or(short).clamp(1, short);
        }
        let inner = median_of(REPEATS, || {
            Ok(timed.all(&[inside], Some(&around))?[0].nanos())
        })?;
        let inside_alone = median_of(REPEATS, || Ok(timed.copy(inside)?.nanos()))?.max(1);
        *copied = times.alone_ns * inner as f64 / inside_alone as f64;
        let mut short_steps = steps.clone();
        let covering = copy(direction, long);
        let span = median_of(1, || Ok(timed.copy(covering)?.nanos()))?;
        if steps.shape.prefill.is_empty() {
            let count = span * u64::from(steps.count) / (2 * step);
            short_steps.count = u32::try_from(count).unwrap_or(steps.count).clamp(1, 64);
        }
        let free = median_of(REPEATS, || Ok(timed.steps(&short_steps)?.nanos()))?.max(1);
        let busy = median_of(REPEATS, || {
            let spans = timed.all(&[covering], Some(&short_steps))?;
            Ok(spans[1].nanos())
        })?;
        *slowed = (busy as f64 / free as f64 - 1.0).max(0.0);
    }
    Ok(times)
}

/// Of one direction under one method, alone and beside others.
pub type Round = (MethodTimes, BesideTimes);

/// The medians of what was timed in each round, alike in all of them.
///
/// # Errors
/// If there is no round.
pub fn settled(rounds: &[Round]) -> Result<Round, String> {
    let [(first, _), ..] = rounds else {
        return Err("copies were not timed".to_owned());
    };
    let middle = |of: &dyn Fn(&Round) -> f64| {
        median(rounds.iter().map(of).collect()).expect("there is a round")
    };
    let points = first
        .points
        .iter()
        .enumerate()
        .map(|(place, point)| CopyPoint {
            nanos: middle(&|round| round.0.points[place].nanos as f64) as u64,
            ..*point
        });
    let beside = |of: fn(&BesideTimes) -> f64| middle(&|round| of(&round.1));
    Ok((
        MethodTimes::of(points.collect())?,
        BesideTimes {
            alone_ns: beside(|times| times.alone_ns),
            other_ns: beside(|times| times.other_ns),
            decode_ns: beside(|times| times.decode_ns),
            prefill_ns: beside(|times| times.prefill_ns),
            decode_slowdown: beside(|times| times.decode_slowdown),
            prefill_slowdown: beside(|times| times.prefill_slowdown),
        },
    ))
}

/// The constants of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LaneFit {
    /// Per chunk \[ns\].
    pub chunk_ns: f64,
    /// Rate alone.
    pub bytes_per_s: f64,
    /// Rate beside the other direction.
    pub bytes_per_s_shared: f64,
    /// Per piece, by method: memcpy, batch, gather, staged \[ns\].
    pub piece_ns: [f64; 4],
    /// How much longer bytes take beside decode steps.
    pub beside_steps: f64,
    /// How much longer decode steps take beside it.
    pub slowdown: f64,
}

/// What is measured of a direction.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneTimes {
    /// `contiguous`, `memcpy`, `batch`, `gather`, `staged`.
    pub methods: [MethodTimes; 5],
    /// Under `contiguous`.
    pub beside: BesideTimes,
}

/// Solves for the constants.
pub fn fit(times: &LaneTimes, shape: BlockShape) -> LaneFit {
    let [contiguous, memcpy, batch, gather, staged] = &times.methods;
    let (chunk, pieces) = (f64::from(shape.chunk_blocks), f64::from(shape.pieces));
    // A single block pays for a chunk of its own; in a large copy it pays a share of one.
    let share = (1.0 - 1.0 / chunk).max(f64::EPSILON);
    let chunk_ns = if shape.chunk_blocks > 1 {
        ((contiguous.single_ns - contiguous.block_ns) / share).max(0.0)
    } else {
        0.0
    };
    let per_block = |method: &MethodTimes| method.block_ns - chunk_ns / chunk;
    let piece =
        |method: &MethodTimes, bytes_ns: f64| ((per_block(method) - bytes_ns) / pieces).max(0.0);
    let batch_piece = if pieces > 1.0 {
        ((per_block(batch) - per_block(contiguous)) / (pieces - 1.0)).max(0.0)
    } else {
        0.0
    };
    let bytes_ns = (per_block(contiguous) - batch_piece).max(1.0);
    let bytes = shape.bytes as f64;
    let extra = |beside_ns: f64| beside_ns - times.beside.alone_ns;
    // A server decodes nearly all of the time, and most of its prompts are shorter than the one that was timed: copies and steps are
    // taken to meet as they do beside decode steps. What a long prompt does to them stays in the profile's remarks.
    let steps = extra(times.beside.decode_ns);
    LaneFit {
        chunk_ns,
        bytes_per_s: bytes * 1e9 / bytes_ns,
        bytes_per_s_shared: bytes * 1e9 / (bytes_ns + extra(times.beside.other_ns).max(0.0)),
        piece_ns: [
            piece(memcpy, bytes_ns),
            batch_piece,
            piece(gather, bytes_ns),
            piece(staged, bytes_ns),
        ],
        beside_steps: (steps / bytes_ns).max(0.0),
        slowdown: times.beside.decode_slowdown,
    }
}

/// What the fit says of a copy under method `method` (as in [`LaneTimes::methods`]) \[ns\].
pub fn predict(fit: &LaneFit, method: usize, blocks: u32, shape: BlockShape) -> f64 {
    let piece_ns = match method {
        0 => fit.piece_ns[1],
        method => fit.piece_ns[method - 1] * f64::from(shape.pieces),
    };
    let block = piece_ns + shape.bytes as f64 * 1e9 / fit.bytes_per_s;
    f64::from(blocks.div_ceil(shape.chunk_blocks)) * fit.chunk_ns + f64::from(blocks) * block
}

/// The timed copies, for a file of their own.
pub fn csv(measured: &Measured) -> String {
    let mut text = "direction,method,bytes,blocks,nanos,predicted_nanos,held_out\n".to_owned();
    for direction in Direction::LINK {
        let (side, name) = (direction.index(), direction.to_string().to_lowercase());
        let (sweep, line) = &measured.sweeps[side];
        for (place, Point { bytes, nanos }) in sweep.iter().enumerate() {
            let predicted = line.fixed_ns as f64 + *bytes as f64 * 1e9 / line.bytes_per_s as f64;
            let _ = writeln!(
                text,
                "{name},memcpy-beneath,{bytes},,{nanos},{predicted:.0},{}",
                place % 2 == 1
            );
        }
        for (place, (method, times)) in METHODS
            .iter()
            .zip(&measured.lanes[side].methods)
            .enumerate()
        {
            for point in &times.points {
                let predicted = measured.copy_ns(side, place, point.blocks);
                let _ = writeln!(
                    text,
                    "{name},{},{},{},{},{predicted:.0},{}",
                    format!("{method:?}").to_lowercase(),
                    u64::from(point.blocks) * measured.blocks.bytes,
                    point.blocks,
                    point.nanos,
                    point.held_out
                );
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DeviceOptions, ReplayDevice};
    use crate::fake::FakeGpu;
    use engine::device::StepShape;
    use model::Bytes;

    /// A method whose piece costs `piece_ns`: 8 MiB at 50 B/ns, 3,000 ns a chunk of 4, `pieces` pieces.
    fn method(pieces: f64, piece_ns: f64) -> MethodTimes {
        let block = 8_388_608.0 / 50.0 + pieces * piece_ns;
        MethodTimes {
            points: Vec::new(),
            block_ns: block + 3_000.0 / 4.0,
            single_ns: block + 3_000.0,
        }
    }

    #[test]
    fn the_constants_of_a_link_are_found_again() {
        let alone_ns = 8_388_608.0 / 50.0;
        let times = LaneTimes {
            methods: [
                method(1.0, 400.0),
                method(64.0, 2_500.0),
                method(64.0, 400.0),
                method(64.0, 130.0),
                method(64.0, 30.0),
            ],
            beside: BesideTimes {
                alone_ns,
                other_ns: alone_ns * 1.25,
                decode_ns: alone_ns * 1.02,
                prefill_ns: alone_ns * 1.04,
                decode_slowdown: 0.02,
                prefill_slowdown: 0.0,
            },
        };
        let shape = BlockShape {
            bytes: 8 << 20,
            chunk_blocks: 4,
            pieces: 64,
        };
        let fit = fit(&times, shape);
        let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-6, "{a} is not {b}");
        close(fit.chunk_ns, 3_000.0);
        close(fit.bytes_per_s, 50e9);
        close(fit.bytes_per_s_shared, 40e9);
        close(fit.piece_ns[0], 2_500.0);
        close(fit.piece_ns[1], 400.0);
        close(fit.piece_ns[3], 30.0);
        close(fit.beside_steps, 0.02);
        close(fit.slowdown, 0.02);
        // 10 blocks: 3 chunks, one piece each.
        let predicted = predict(&fit, 0, 10, shape);
        close(predicted, 9_000.0 + 10.0 * (400.0 + alone_ns));
    }

    #[test]
    fn a_round_in_which_the_link_was_disturbed_does_not_count() {
        let round = |slower: f64| -> Round {
            let point = |blocks: u32, held_out| CopyPoint {
                blocks,
                nanos: (160_000.0 * f64::from(blocks) * slower) as u64,
                held_out,
            };
            let points = vec![point(1, false), point(64, false), point(8, true)];
            let beside = BesideTimes {
                alone_ns: 160_000.0 * slower,
                other_ns: 180_000.0 * slower,
                ..BesideTimes::default()
            };
            (MethodTimes::of(points).unwrap(), beside)
        };
        let settled_rounds = settled(&[1.1, 1.0, 0.99].map(round)).unwrap();
        assert_eq!(settled_rounds, round(1.0));
        assert!(settled(&[]).unwrap_err().contains("not timed"));
        assert!(MethodTimes::of(Vec::new()).is_err());
    }

    #[test]
    fn sizes_and_neighbours_are_timed_on_any_backend() {
        // 5 us a block, both directions and steps at once without effect on each other.
        let mut gpu = FakeGpu::new(600, 600);
        // As in a calibration, nothing is stamped.
        gpu.checks = false;
        let mut device = ReplayDevice::new(gpu, DeviceOptions::default()).unwrap();
        let mut timed = Timed::new(&mut device, 4, Bytes(8 << 20));
        let times = sizes(&mut timed, Direction::D2h).unwrap();
        assert_eq!(times.points.len(), FITTED.len() + HELD_OUT.len());
        // No copy is faster than the fake link; a busy machine may hand over a chunk late.
        assert!(
            times.block_ns >= 5_000.0 && times.single_ns >= 5_000.0,
            "{times:?}"
        );
        let decode = TimedSteps {
            shape: StepShape {
                decode_seqs: 1,
                decode_kv_tokens: 16,
                ..StepShape::default()
            },
            count: 4,
        };
        let beside = beside(&mut timed, Direction::H2d, &decode, &decode).unwrap();
        assert!(beside.alone_ns > 0.0 && beside.other_ns > 0.0 && beside.decode_ns > 0.0);
    }
}
