//! Time, and a long schedule in which everything happens.

use super::rig::{Rig, equal};
use super::{Subject, Verdict};
use model::{Direction, Nanos};

pub(super) fn time_is_what_was_waited_for(subject: &Subject<'_>) -> Verdict {
    let mut rig = Rig::new(subject)?;
    for span in [0, 1_000, 3_000_000] {
        let until = rig.now + Nanos(span);
        let done = rig.wait(Some(until))?;
        equal("completions of an idle device", &done.len(), &0)?;
        if subject.exact {
            equal("the time returned by an idle device", &rig.now, &until)?;
        } else if rig.now < until {
            return Err(format!(
                "an idle device woke at {}, before {until}",
                rig.now
            ));
        }
    }
    // A time that has passed is no reason to go back.
    let now = rig.now;
    rig.wait(Some(now.before(Nanos(1_000))))?;
    if subject.exact {
        equal("time", &rig.now, &now)
    } else {
        Ok(())
    }
}

/// Steps, copies and cuts in a fixed order that looks like none. Every operation completes once, with the units that it has.
pub(super) fn nothing_is_lost(subject: &Subject<'_>) -> Verdict {
    let mut rig = Rig::new(subject)?;
    let mut draw = Draw(12_345);
    let runs_max = if subject.ahead > 0 { 2 } else { 1 };
    for _ in 0..if subject.exact { 400 } else { 60 } {
        match draw.below(5) {
            0 if rig.in_flight(0) < runs_max => {
                rig.decode(
                    1 + draw.below(20),
                    u64::from(draw.below(5_000)),
                    draw.below(4) > 0,
                );
            }
            side @ (1 | 2) if rig.in_flight(side as usize) == 0 => {
                let direction = Direction::LINK[side as usize - 1];
                rig.copy(direction, 1 + draw.below(30), 1 + draw.below(6));
            }
            3 => {
                let ops = rig.ops();
                if let Some(op) = ops.get(draw.below(4) as usize) {
                    rig.cut(*op)?;
                }
            }
            _ => {
                let until = rig.now + Nanos(u64::from(draw.below(20_000_000)));
                rig.wait(Some(until))?;
            }
        }
    }
    rig.drain()
}

/// A linear congruential generator: a schedule needs variety, not quality.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(limit)) as u32
    }
}
