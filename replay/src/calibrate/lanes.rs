//! The link as a run uses it, timed: every copy method, each direction alone, both at once, and beside steps.
//!
//! Copies of some sizes are fitted (`lane_fit`), those of the others held out, and judge.
//!
//! What else uses the host can slow a direction down for seconds: in three calibrations it had 87, 95 and 96 % of the rate beneath the device. What is
//! contiguous, and carries the rates, is therefore timed in rounds (before the steps, behind their first round, and at the end), and their medians
//! count ([`settled`]); other methods are timed once, at the end.

use super::fit::median;
use super::timed::{Timed, TimedCopy, TimedSteps, median_of};
use crate::backend::Backend;
use model::Direction;

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
    /// Sizes that are fitted, then those that are held out.
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
    /// Of copies of these sizes, by how many blocks they have and how long they took; sizes that are not fitted are held out.
    ///
    /// # Errors
    /// If no copy is fitted.
    pub fn of(sizes: impl IntoIterator<Item = (u32, u64)>) -> Result<Self, String> {
        let point = |(blocks, nanos)| CopyPoint {
            blocks,
            nanos,
            held_out: !FITTED.contains(&blocks),
        };
        let points: Vec<CopyPoint> = sizes.into_iter().map(point).collect();
        let fitted: Vec<&CopyPoint> = points.iter().filter(|point| !point.held_out).collect();
        let [single, large @ ..] = &fitted[..] else {
            return Err("the pools hold no block".to_owned());
        };
        let large = if large.is_empty() { &fitted[..] } else { large };
        let per_block = large
            .iter()
            .map(|point| point.nanos as f64 / f64::from(point.blocks));
        Ok(Self {
            block_ns: per_block.sum::<f64>() / large.len() as f64,
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
    let largest = timed.blocks_max();
    let mut sizes = Vec::new();
    for blocks in FITTED.into_iter().chain(HELD_OUT) {
        if blocks <= largest {
            let copy = TimedCopy { direction, blocks };
            sizes.push((
                blocks,
                median_of(REPEATS, || Ok(timed.copy(copy)?.nanos()))?,
            ));
        }
    }
    MethodTimes::of(sizes)
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
    let sizes = first.points.iter().enumerate().map(|(place, point)| {
        let nanos = middle(&|round| round.0.points[place].nanos as f64) as u64;
        (point.blocks, nanos)
    });
    let beside = |of: fn(&BesideTimes) -> f64| middle(&|round| of(&round.1));
    Ok((
        MethodTimes::of(sizes)?,
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

/// What is measured of a direction.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneTimes {
    /// `contiguous`, `memcpy`, `batch`, `gather`, `staged`.
    pub methods: [MethodTimes; 5],
    /// Under `contiguous`.
    pub beside: BesideTimes,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{DeviceOptions, ReplayDevice};
    use crate::fake::FakeGpu;
    use engine::device::StepShape;
    use model::Bytes;

    #[test]
    fn a_round_in_which_the_link_was_disturbed_does_not_count() {
        let round = |slower: f64| -> Round {
            let size = |blocks: u32| (blocks, (160_000.0 * f64::from(blocks) * slower) as u64);
            let beside = BesideTimes {
                alone_ns: 160_000.0 * slower,
                other_ns: 180_000.0 * slower,
                decode_ns: 161_000.0 * slower,
                prefill_ns: 162_000.0 * slower,
                decode_slowdown: 0.05 * slower,
                prefill_slowdown: 0.01 * slower,
            };
            (MethodTimes::of([1, 64, 8].map(size)).unwrap(), beside)
        };
        let settled_rounds = settled(&[1.1, 1.0, 0.99].map(round)).unwrap();
        assert_eq!(settled_rounds, round(1.0));
        assert!(settled(&[]).unwrap_err().contains("not timed"));
        assert!(MethodTimes::of([(8, 1_300_000)]).is_err());
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
        assert!(times.block_ns >= 5_000.0, "{times:?}");
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
