//! Virtual time: the simulated device's, which real bytes keep up with.
//!
//! A chunk is handed to its mover when the simulated lane is handed it, and has arrived before the driver can learn that
//! it is over.

use super::lanes::Lanes;
use crate::SimDevice;
use engine::device::{Completion, Device};
use model::{Direction, Time};

/// [`Device::wait`]; `taken` is scratch space.
pub(super) fn wait(
    sim: &mut SimDevice,
    lanes: &mut Lanes,
    until: Option<Time>,
    taken: &mut Vec<Completion>,
    done: &mut Vec<Completion>,
) -> Time {
    let before = done.len();
    loop {
        taken.clear();
        let now = sim.wait(until, taken);
        let lost = taken.len();
        for completion in taken.drain(..) {
            let Some(direction) = lanes.find(completion.op).map(|moving| moving.run.direction)
            else {
                done.push(completion);
                continue;
            };
            lanes.await_moved(direction, completion.units);
            lanes.finish(direction, &completion, done);
        }
        for direction in Direction::ALL {
            if let Some(op) = lanes.get(direction).map(|moving| moving.run.id) {
                // Chunks that are over by the clock have arrived before the driver learns of it.
                lanes.hand(direction, sim.handed(op));
                lanes.await_moved(direction, sim.progress(op));
            }
        }
        // A wake for which only a lost completion was the reason is no wake.
        let only_lost = lost > 0 && done.len() == before && until.is_none_or(|until| now < until);
        if !only_lost {
            return now;
        }
    }
}
