//! What the link costs: constants of each lane, and the time of a copy that runs alone.

use model::{Bytes, CopyEstimate, Direction, Nanos};
use std::num::{NonZeroU32, NonZeroU64};

/// Constants of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneCost {
    /// Fixed cost of a chunk \[ns\].
    pub copy_ns: u64,
    /// Cost of a KV block beyond its bytes \[ns\]: its contiguous pieces times the cost of a piece.
    pub block_ns: u64,
    /// Rate while the other direction is idle.
    pub bytes_per_s: NonZeroU64,
    /// Rate while the other direction is busy.
    pub bytes_per_s_shared: NonZeroU64,
    /// How much longer a step takes while this direction is busy, in parts per million.
    pub slowdown_ppm: u32,
    /// How much longer bytes of this direction take while steps run, in parts per million: both read or write HBM.
    pub beside_steps_ppm: u32,
}

/// What runs beside a copy, and slows it down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// A copy in the other direction.
    pub other: bool,
    /// Steps.
    pub steps: bool,
}

impl Beside {
    /// Nothing.
    pub const NOTHING: Self = Self {
        other: false,
        steps: false,
    };
}

/// Constants of the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkCost {
    lanes: [LaneCost; 2],
    lane_depth: NonZeroU32,
}

impl LinkCost {
    /// Chunks that a lane holds, the one in service included, unless told otherwise.
    pub const LANE_DEPTH: NonZeroU32 = NonZeroU32::new(2).unwrap();

    /// From the constants of both lanes.
    pub fn new(d2h: LaneCost, h2d: LaneCost) -> Self {
        Self {
            lanes: [d2h, h2d],
            lane_depth: Self::LANE_DEPTH,
        }
    }

    /// With so many chunks in a lane, the one in service included: those that a cut cannot take back.
    #[must_use]
    pub fn with_lane_depth(mut self, chunks: NonZeroU32) -> Self {
        self.lane_depth = chunks;
        self
    }

    /// Chunks that a lane holds.
    pub fn lane_depth(&self) -> u32 {
        self.lane_depth.get()
    }

    /// The constants of one direction.
    pub fn lane(&self, direction: Direction) -> &LaneCost {
        &self.lanes[direction.index()]
    }

    /// What a server that knows the link expects of a copy in chunks of `chunk_blocks` blocks: the rate holds what chunks
    /// and pieces cost, and counts no other traffic. For [`model::View::link`]; the engine adds what is queued.
    ///
    /// # Panics
    /// If a chunk is empty.
    pub fn estimate(
        &self,
        direction: Direction,
        chunk_blocks: u32,
        block_bytes: Bytes,
    ) -> CopyEstimate {
        let lane = self.lane(direction);
        let bytes = u64::from(chunk_blocks) * block_bytes.0;
        let chunk_ns = lane
            .chunk_time(chunk_blocks, block_bytes, Beside::NOTHING)
            .0;
        let bytes_per_s = (u128::from(bytes) * 1_000_000_000 / u128::from(chunk_ns)) as u64;
        CopyEstimate {
            queued: Bytes::ZERO,
            bytes_per_s,
            fixed: Nanos(lane.copy_ns),
        }
    }
}

impl LaneCost {
    /// Time of a chunk, all of it beside the same. Rounds up: a copy never ends early.
    pub fn chunk_time(&self, blocks: u32, block_bytes: Bytes, beside: Beside) -> Nanos {
        let bytes = u64::from(blocks) * block_bytes.0;
        Nanos(self.overhead_ns(blocks) + transfer_ns(bytes, self.rate(beside)))
    }

    /// The part of a chunk's time that does not depend on the rate \[ns\].
    pub(crate) fn overhead_ns(&self, blocks: u32) -> u64 {
        self.copy_ns + self.block_ns * u64::from(blocks)
    }

    /// Rate of the bytes, rounded down.
    pub(crate) fn rate(&self, beside: Beside) -> NonZeroU64 {
        let rate = if beside.other {
            self.bytes_per_s_shared
        } else {
            self.bytes_per_s
        };
        if !beside.steps || self.beside_steps_ppm == 0 {
            return rate;
        }
        let slowed =
            u128::from(rate.get()) * 1_000_000 / (1_000_000 + u128::from(self.beside_steps_ppm));
        NonZeroU64::new(slowed as u64).unwrap_or(NonZeroU64::MIN)
    }
}

/// Time to move `bytes`, rounded up \[ns\].
pub(crate) fn transfer_ns(bytes: u64, rate: NonZeroU64) -> u64 {
    let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(rate.get()));
    u64::try_from(nanos).expect("a copy shorter than centuries")
}

/// Whole bytes moved in `nanos`: rounded down, so that what is left is never too little.
pub(crate) fn moved_bytes(nanos: u64, rate: NonZeroU64) -> u64 {
    (u128::from(nanos) * u128::from(rate.get()) / 1_000_000_000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;
    use crate::hardware::CopyMethod;

    #[test]
    fn scattered_pieces_reach_the_rates_of_the_micro_benchmark() {
        // 4,096 pieces of 128 KiB: GB/s by memcpy per piece, batched memcpy, and SM kernel, in tenths.
        let pcie5 = catalog::hardware("h100-80g-pcie5").unwrap();
        for (method, d2h, h2d) in [
            (CopyMethod::Memcpy, 258, 254),
            (CopyMethod::Batch, 461, 453),
            (CopyMethod::Gather, 516, 496),
        ] {
            let cost = pcie5.link_cost(method, 1);
            for (direction, tenths) in [(Direction::D2h, d2h), (Direction::H2d, h2d)] {
                let rate = cost
                    .estimate(direction, 4_096, Bytes(128 << 10))
                    .bytes_per_s;
                assert_eq!(
                    (rate + 50_000_000) / 100_000_000,
                    tenths,
                    "{method:?} {direction}"
                );
            }
        }
    }

    #[test]
    fn steps_slow_a_copy_down_on_top_of_the_other_direction() {
        let lane = LaneCost {
            copy_ns: 0,
            block_ns: 0,
            bytes_per_s: NonZeroU64::new(1_000_000).unwrap(),
            bytes_per_s_shared: NonZeroU64::new(500_000).unwrap(),
            slowdown_ppm: 0,
            beside_steps_ppm: 250_000,
        };
        let rate = |other, steps| lane.rate(Beside { other, steps }).get();
        // A quarter longer: 1,000,000 / 1.25.
        assert_eq!(
            [rate(false, false), rate(true, false)],
            [1_000_000, 500_000]
        );
        assert_eq!([rate(false, true), rate(true, true)], [800_000, 400_000]);
    }

    #[test]
    fn a_block_of_many_pieces_costs_each_of_them() {
        // Llama-2-7B: 64 pieces of 128 KiB; by batched memcpy H2D 64 x 506 ns beyond 8 MiB / 54.9 B/ns = 152,797.96.
        let cost = catalog::hardware("h100-80g-pcie5")
            .unwrap()
            .link_cost(CopyMethod::Batch, 64);
        let time = cost
            .lane(Direction::H2d)
            .chunk_time(1, Bytes(8 << 20), Beside::NOTHING);
        assert_eq!(time, Nanos(4_200 + 64 * 506 + 152_798));
    }
}
