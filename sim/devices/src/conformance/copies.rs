//! Copies: order, length, cuts, both lanes.

use super::rig::{Rig, equal};
use super::{Subject, Verdict};
use model::{Direction, Nanos};

const CHUNKS: u32 = 6;
const CHUNK_BLOCKS: u32 = 4;
const BLOCKS: u32 = CHUNKS * CHUNK_BLOCKS;

/// Time of one full chunk alone.
fn chunk_time(subject: &Subject<'_>, direction: Direction) -> Result<u64, String> {
    let mut rig = Rig::new(subject)?;
    let op = rig.copy(direction, CHUNK_BLOCKS, CHUNK_BLOCKS);
    let done = rig.await_end(op)?;
    Ok(done.end.since(done.start).0)
}

pub(super) fn a_lane_is_first_in_first_out(subject: &Subject<'_>) -> Verdict {
    for direction in Direction::LINK {
        let mut rig = Rig::new(subject)?;
        for blocks in [BLOCKS, 1, 5] {
            // The rig checks that each begins after its predecessor, takes time, and is accounted for.
            let op = rig.copy(direction, blocks, CHUNK_BLOCKS);
            rig.await_end(op)?;
        }
    }
    Ok(())
}

pub(super) fn a_copy_is_the_sum_of_its_chunks(subject: &Subject<'_>) -> Verdict {
    for direction in Direction::LINK {
        let chunk = chunk_time(subject, direction)?;
        let mut rig = Rig::new(subject)?;
        let origin = rig.now;
        let op = rig.copy(direction, BLOCKS, CHUNK_BLOCKS);
        for over in 1..CHUNKS {
            let end = origin + Nanos(chunk * u64::from(over));
            rig.await_time(model::Time(end.0 - 1))?;
            equal(
                "chunks over just before one ends",
                &rig.device().progress(op),
                &(over - 1),
            )?;
            rig.await_time(end)?;
            equal("chunks over as one ends", &rig.device().progress(op), &over)?;
        }
        let end = rig.await_end(op)?.end;
        equal(
            "the end of a copy",
            &end.since(origin),
            &Nanos(chunk * u64::from(CHUNKS)),
        )?;
    }
    Ok(())
}

pub(super) fn a_cut_leaves_what_the_lane_was_handed(subject: &Subject<'_>) -> Verdict {
    for direction in Direction::LINK {
        let chunk = chunk_time(subject, direction)?;
        for at in [0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk, 3 * chunk + 1] {
            let mut rig = Rig::new(subject)?;
            let origin = rig.now;
            let op = rig.copy(direction, BLOCKS, CHUNK_BLOCKS);
            rig.await_time(origin + Nanos(at))?;
            // A chunk that ends exactly now has not made room in the lane yet.
            let over = at.saturating_sub(1) / chunk;
            let handed = (over as u32 + subject.lane_depth).min(CHUNKS);
            equal("a copy cut", &rig.cut(op)?, &handed)?;
            let end = rig.await_end(op)?.end.since(origin);
            equal(
                "the end of a cut copy",
                &end,
                &Nanos(chunk * u64::from(handed)),
            )?;
        }
    }
    Ok(())
}

pub(super) fn a_cut_copy_ends_as_it_was_cut(subject: &Subject<'_>) -> Verdict {
    for direction in Direction::LINK {
        let mut rig = Rig::new(subject)?;
        let op = rig.copy(direction, BLOCKS, 1);
        let handed = rig.cut(op)?;
        equal(
            "a copy cut at its submission",
            &handed,
            &subject.lane_depth.min(BLOCKS),
        )?;
        rig.await_end(op)?;
        // The lane is free again.
        let op = rig.copy(direction, 1, 1);
        rig.await_end(op)?;
    }
    Ok(())
}

pub(super) fn both_lanes_work_at_once(subject: &Subject<'_>) -> Verdict {
    let mut rig = Rig::new(subject)?;
    let ops = Direction::LINK.map(|direction| rig.copy(direction, BLOCKS, CHUNK_BLOCKS));
    let now = rig.now;
    rig.drain()?;
    if !subject.exact {
        return Ok(());
    }
    for (op, direction) in ops.into_iter().zip(Direction::LINK) {
        let alone = chunk_time(subject, direction)? * u64::from(CHUNKS);
        let busy = rig.device().lane_busy(direction);
        let before = Rig::new(subject)?.device().lane_busy(direction);
        if busy.saturating_sub(before).0 < alone {
            return Err(format!(
                "{direction} copy {op}, begun at {now} beside another, was faster than alone"
            ));
        }
    }
    Ok(())
}
