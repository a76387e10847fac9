//! How many equal steps may follow one another without a decision in between.
use super::super::Driver;
use super::super::steps::{InFlight, Item};
use crate::device::Device;
use model::Tier;

impl<D: Device> Driver<'_, D> {
    /// How many equal steps may follow one another: until a turn ends, or the free queue is empty.
    pub(super) fn steady_steps(&self, items: &[Item]) -> u32 {
        if self.config.stepwise {
            return 1;
        }
        // A turn that ends with a step in flight frees its blocks within the run.
        let ending = self.in_flight.iter().flat_map(InFlight::items).any(|item| {
            let request = &self.live[item.session.index()].request;
            request.output + 1 >= request.output_max
        });
        if ending {
            return 1;
        }
        let left = items.iter().map(|item| {
            let request = &self.live[item.session.index()].request;
            request.output_max - request.output - request.placeholders
        });
        let longest = left.min().expect("a step has items");
        self.steps_that_fit(items, longest)
    }

    /// The largest number of steps, up to `longest`, for which the free queue holds the blocks.
    fn steps_that_fit(&self, items: &[Item], longest: u32) -> u32 {
        let block = self.config.memory.block_tokens;
        let free = u64::from(self.ledger.pool(Tier::Hbm).free());
        let needed = |steps: u32| -> u64 {
            let of = |item: &Item| {
                let computed = self.live[item.session.index()].request.computed;
                u64::from((computed + steps - 1).div_ceil(block) - computed.div_ceil(block))
            };
            items.iter().map(of).sum()
        };
        if needed(longest) <= free {
            return longest;
        }
        let (mut fits, mut fails) = (1, longest);
        while fails - fits > 1 {
            let middle = fits + (fails - fits) / 2;
            if needed(middle) <= free {
                fits = middle;
            } else {
                fails = middle;
            }
        }
        fits
    }
}
