//! How long attention of prompts takes: CTAs that share multiprocessors.
//!
//! ```text
//!   of two CTAs on a multiprocessor the one that came first ends first: its warps are served first, and it gets 54 % of what both do
//!   a CTA that is alone no longer shares the tensor cores, but nothing hides its waits: it takes 65 % of what it takes beside another
//! ```
//!
//! The first matters where a last round is thin. With 20 tiles of 32 heads on 132 multiprocessors 112 CTAs are left for the third round: those that came first
//! end together, half a round before the others, and each of the 112 gets a multiprocessor that goes on with one other. Were both as fast, some would
//! get two of them, and the step would take a sixth longer than it does.
//!
//! Constants are those by which single prompts of `measurements/prefill_parts.csv` (H200) take what was measured, half of them within 3 % and nine of ten
//! within 6. That is attention by itself. In a forward pass a CTA takes as long alone as beside another, at least behind up to 3,000 tokens
//! (`djinn-replay calibrate`): where plans of four parts are estimated to take as long as plans of eight, they take up to 18 us a layer longer there.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// CTAs that one multiprocessor holds: limited by 255 registers a thread.
const CTAS_PER_MULTIPROCESSOR: u32 = 2;
/// What a CTA takes for a tile of keys beside another CTA, if both are served alike.
const TILE_PS: u64 = 3_400_000;
/// What a CTA takes before and after its tiles.
const CTA_PS: u64 = 2_000_000;
/// What a launch takes, and what that of the kernel that merges parts adds.
const LAUNCH_PS: u64 = 5_000_000;
const MERGE_PS: u64 = 1_500_000;
/// What a row of partial sums takes on its way out and back.
const ROW_PS: u64 = 300;
/// What a CTA takes alone on its multiprocessor, of what it takes beside another \[%\].
const ALONE_PERCENT: u64 = 65;
/// What the first of two CTAs gets of what both do \[%\].
const FIRST_PERCENT: u64 = 54;

/// CTAs that the GPU holds.
pub(crate) fn places(multiprocessors: u32) -> u32 {
    CTAS_PER_MULTIPROCESSOR * multiprocessors
}

/// What CTAs are placed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gpu {
    /// Each part is a CTA of each head.
    pub q_heads: u32,
    pub multiprocessors: u32,
}

impl Gpu {
    /// What parts of so many `tiles` of keys take, listed as they are launched, with the rows of their partial sums \[ps\].
    pub fn takes_ps(self, tiles: &[u32], partial_rows: u32) -> u64 {
        let runs = tiles.chunk_by(|a, b| a == b).map(|run| Run {
            takes: u64::from(run[0]) * TILE_PS + CTA_PS,
            count: run.len() as u32 * self.q_heads,
        });
        let merged = match u64::from(partial_rows) * u64::from(self.q_heads) {
            0 => 0,
            rows => MERGE_PS + rows * ROW_PS,
        };
        LAUNCH_PS + last_end(runs, self.multiprocessors) + merged
    }
}

/// CTAs that are alike, one behind the other.
struct Run {
    /// Beside another, both served alike \[ps\].
    takes: u64,
    count: u32,
}

/// Multiprocessors that are alike.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Alike {
    count: u32,
    held: u32,
    /// What is left of the CTAs that each holds, the first to have come first \[ps\].
    left: [u64; CTAS_PER_MULTIPROCESSOR as usize],
}

impl Alike {
    /// Which CTA ends next, and how long until then \[ps\].
    fn next(&self) -> Option<(usize, u64)> {
        let [first, second] = self.left;
        match self.held {
            0 => None,
            1 => Some((0, first * ALONE_PERCENT / 100)),
            _ => {
                let takes = [
                    first * 50 / FIRST_PERCENT,
                    second * 50 / (100 - FIRST_PERCENT),
                ];
                let next = usize::from(takes[1] < takes[0]);
                Some((next, takes[next]))
            }
        }
    }

    /// Without the CTA that has `ended` after it `took` so long.
    fn without(mut self, ended: usize, took: u64) -> Self {
        self.held -= 1;
        let percent = [100 - FIRST_PERCENT, FIRST_PERCENT][ended];
        self.left[0] = self.left[1 - ended].saturating_sub(took * percent / 50);
        self
    }
}

/// When the last CTA ends \[ps\]: each goes where one ends first, and in the beginning one to each multiprocessor, and then another.
fn last_end(runs: impl Iterator<Item = Run>, multiprocessors: u32) -> u64 {
    let mut runs = runs.peekable();
    // Gives each of `alike` the next CTA, as far as there are.
    let mut fill = |alike: Alike, filled: &mut dyn FnMut(Alike)| {
        let mut count = alike.count;
        while count > 0 {
            let Some(run) = runs.peek_mut() else {
                return filled(Alike { count, ..alike });
            };
            let mut own = Alike {
                count: count.min(run.count),
                ..alike
            };
            own.left[own.held as usize] = run.takes;
            own.held += 1;
            count -= own.count;
            run.count -= own.count;
            if run.count == 0 {
                runs.next();
            }
            filled(own);
        }
    };
    let mut all = vec![Alike {
        count: multiprocessors,
        ..Alike::default()
    }];
    for _ in 0..CTAS_PER_MULTIPROCESSOR {
        let mut filled = Vec::new();
        for alike in all {
            fill(alike, &mut |own| filled.push(own));
        }
        all = filled;
    }
    let mut ends = BinaryHeap::new();
    let mut order = 0_u32;
    let mut wait = |ends: &mut BinaryHeap<_>, from: u64, alike: Alike| {
        if let Some((next, takes)) = alike.next() {
            ends.push(Reverse((from + takes, order, takes, next, alike)));
            order += 1;
        }
    };
    for alike in all {
        wait(&mut ends, 0, alike);
    }
    let mut last = 0;
    while let Some(Reverse((at, _, took, ended, alike))) = ends.pop() {
        last = at;
        fill(alike.without(ended, took), &mut |own| {
            wait(&mut ends, at, own);
        });
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured::rows;
    use crate::prefill_cut::Cut;
    use crate::prefill_plan::{PrefillChunk, PrefillPlan};

    /// When the last of `count` CTAs that take 10,000 each ends, on 132 multiprocessors, over 100.
    fn rounds(count: u32) -> u64 {
        let run = Run {
            takes: 10_000,
            count,
        };
        last_end([run].into_iter().filter(|run| run.count > 0), 132) / 100
    }

    #[test]
    fn full_rounds_take_what_ctas_take_beside_each_other() {
        assert_eq!(rounds(0), 0);
        // The first is over after 92.6, and the other, with 14.8 % left, goes on alone.
        assert_eq!(rounds(264), 102);
        assert!(
            (298..=305).contains(&rounds(3 * 264)),
            "{}",
            rounds(3 * 264)
        );
    }

    #[test]
    fn a_thin_last_round_takes_less_than_a_full_one() {
        assert_eq!(rounds(132), 65);
        // Each is beside one that ends soon, and then alone.
        let [thin, half, more] = [288, 396, 397].map(rounds);
        assert!((155..=170).contains(&thin) && thin == half, "{thin} {half}");
        assert!(more > half + 25, "{more}");
    }

    #[test]
    fn what_is_left_alone_goes_on_faster() {
        let runs = [10_000, 4_000].map(|takes| Run { takes, count: 1 });
        // The second ends after 4,000 / 0.92, by when the first has done 1.08 times as much; what is left takes 65 %.
        let ended = 4_000.0 / 0.92;
        let want = ended + (10_000.0 - ended * 1.08) * 0.65;
        let have = last_end(runs.into_iter(), 1) as f64;
        assert!((have - want).abs() < 3.0, "{have} {want}");
    }

    #[test]
    fn ctas_that_came_first_make_room_on_each_multiprocessor() {
        // 112 of the third round, a hair shorter each: none has to share its multiprocessor with another to the end.
        let runs = (0..20).map(|tile| Run {
            takes: 10_000 - tile,
            count: 32,
        });
        let takes = last_end(runs, 132);
        assert!((25_000..27_000).contains(&takes), "{takes}");
    }

    #[test]
    fn single_prompts_take_what_was_measured() {
        let measured = include_str!("../measurements/prefill_parts.csv");
        let mut errors: Vec<f64> = rows(measured)
            .filter_map(|[_, chunk, cut, _, nanos]| {
                let (past, tokens) = chunk.split_once('+').filter(|_| !chunk.contains(' '))?;
                let [past, tokens, nanos] =
                    [past, tokens, nanos].map(|cell| cell.parse::<u32>().unwrap());
                let context = past + tokens;
                let chunk = PrefillChunk { tokens, context };
                let plan = PrefillPlan::with_cut(cut.parse::<Cut>().unwrap(), &[chunk]);
                let error = plan.takes_ps(32, 132) as f64 / 1e3 / f64::from(nanos) - 1.0;
                (nanos >= 80_000).then_some(error.abs())
            })
            .collect();
        errors.sort_by(f64::total_cmp);
        let at = |percent: usize| errors[errors.len() * percent / 100];
        assert!(errors.len() > 300, "{}", errors.len());
        assert!(at(50) < 0.03 && at(90) < 0.06, "{} {}", at(50), at(90));
    }
}
