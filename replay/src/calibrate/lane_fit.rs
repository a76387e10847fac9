//! The constants of a link, from timed copies.
//!
//! ```text
//!   T(n blocks) = chunks · c + n · ( pieces · p + bytes / r )        c per chunk, p per piece, r the rate
//! ```
//!
//! With one piece a block (`contiguous`) and with many (`batch`) the same calls move the same bytes: the two slopes give `p` and
//! `r`, and copies of a single block give `c`. Other methods have a `p` of their own.

use super::fit::{Line, Point};
use super::lanes::{LaneTimes, MethodTimes};
use super::{BlockShape, METHODS, Measured};
use model::Direction;
use results::validation::ErrorSummary;
use std::fmt::Write as _;

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

/// Solves for the constants of both directions, D2H and H2D; `beneath` are the lines through memcpys beneath the device.
pub fn fit(lanes: &[LaneTimes; 2], beneath: [Line; 2], shape: BlockShape) -> [LaneFit; 2] {
    let chunk_ns = chunk_ns(lanes, beneath, shape);
    lanes.each_ref().map(|times| lane(times, chunk_ns, shape))
}

/// What a chunk costs, either way: a copy of a single block pays for a chunk of its own, in a large one a block pays its share. A copy of one block is
/// one memcpy, which was timed beneath the device as well: of these four the median counts, so that one disturbed copy does not tell.
fn chunk_ns(lanes: &[LaneTimes; 2], beneath: [Line; 2], shape: BlockShape) -> f64 {
    if shape.chunk_blocks < 2 {
        return 0.0;
    }
    let share = 1.0 - 1.0 / f64::from(shape.chunk_blocks);
    let of_lane = |(times, line): (&LaneTimes, Line)| {
        let [contiguous, ..] = &times.methods;
        let memcpy = line.fixed_ns as f64 + shape.bytes as f64 * 1e9 / line.bytes_per_s as f64;
        [contiguous.single_ns, memcpy].map(|single| (single - contiguous.block_ns) / share)
    };
    let mut costs: Vec<f64> = lanes.iter().zip(beneath).flat_map(of_lane).collect();
    costs.sort_by(f64::total_cmp);
    f64::midpoint(costs[1], costs[2]).max(0.0)
}

fn lane(times: &LaneTimes, chunk_ns: f64, shape: BlockShape) -> LaneFit {
    let [contiguous, memcpy, batch, gather, staged] = &times.methods;
    let (chunk, pieces) = (f64::from(shape.chunk_blocks), f64::from(shape.pieces));
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

/// Errors of the copies that were held out, all methods.
pub fn errors(
    methods: &[MethodTimes; 5],
    fit: &LaneFit,
    shape: BlockShape,
) -> Option<ErrorSummary> {
    let errors = methods.iter().enumerate().flat_map(|(method, times)| {
        let held_out = times.points.iter().filter(|point| point.held_out);
        held_out.map(move |point| {
            predict(fit, method, point.blocks, shape) / point.nanos.max(1) as f64 - 1.0
        })
    });
    ErrorSummary::of(errors)
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
    use super::super::lanes::BesideTimes;
    use super::*;

    /// A method whose piece costs `piece_ns`: 8 MiB at 50 B/ns, 3,000 ns a chunk of 4, `pieces` pieces.
    fn method(pieces: f64, piece_ns: f64) -> MethodTimes {
        let block = 8_388_608.0 / 50.0 + pieces * piece_ns;
        MethodTimes {
            points: Vec::new(),
            block_ns: block + 3_000.0 / 4.0,
            single_ns: block + 3_000.0,
        }
    }

    /// The same beneath the device, where a memcpy is one piece.
    const BENEATH: Line = Line {
        fixed_ns: 3_400,
        bytes_per_s: 50_000_000_000,
        error_median: 0.0,
        error_max: 0.0,
    };

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
        let [fit, h2d] = super::fit(&[times.clone(), times.clone()], [BENEATH; 2], shape);
        assert_eq!(fit, h2d);
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
        // One disturbed copy does not tell.
        let mut disturbed = times.clone();
        disturbed.methods[0].single_ns += 30_000.0;
        let [found, _] = super::fit(&[disturbed, times], [BENEATH; 2], shape);
        close(found.chunk_ns, 3_000.0);
    }
}
