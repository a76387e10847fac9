//! Chunks on their way: waits, checks, the copy itself, and its sabotage.

use super::lists::{Entry, List};
use super::mover::Moved;
use super::{CudaBackend, content_word};
use crate::backend::{Chunk, Sabotage, Work};
use kernels::gpu::{Error, Event, HostPool, Stream, View};
use model::Direction;

impl CudaBackend {
    pub(super) fn launch_copy(&mut self, chunk: &Chunk<'_>) -> Result<Work<Event>, Error> {
        self.write_stamps()?;
        let [begun, ended] = self.marks()?;
        let side = chunk.direction.index();
        let leaves = chunk.direction == Direction::D2h;
        let integrity = self.options.integrity;
        let list = if integrity || self.lanes[side].mover.needs_list() {
            let entries: Vec<Entry> = chunk
                .blocks
                .iter()
                .map(|block| entry(leaves, block))
                .collect();
            Some(self.list(&entries)?)
        } else {
            None
        };
        let checked = if integrity { Some(self.event()?) } else { None };
        let lane = &self.lanes[side];
        if leaves {
            lane.checks.wait(&self.stamped)?;
            self.verify(&lane.checks, list.as_ref(), checked.as_ref())?;
        }
        if let Some(Sabotage::Stall(span)) = chunk.sabotage {
            self.occupy.spin(&lane.copies, span.as_nanos() as u64)?;
        }
        let sabotaged = self.sabotaged_block(chunk)?;
        let nothing = self.kv.view.slice(0, 0)?;
        let (pool, host) = (self.kv, self.host.as_ref().map_or(nothing, HostPool::view));
        let mut after = vec![&self.stamped];
        if leaves {
            after.extend(&checked);
        }
        let lane = &mut self.lanes[side];
        // What came before is over before the copy begins, so that its time is the copy's own.
        for event in &after {
            lane.copies.wait(event)?;
        }
        begun.record(&lane.copies)?;
        let moved = Moved {
            pool,
            host,
            blocks: chunk.blocks,
            list: list.as_ref(),
            after: &after,
        };
        let end = lane.mover.submit(&lane.copies, &moved)?;
        if let Some(place) = sabotaged {
            // One byte in 256 is the poison already; its neighbour then is not, but for one in 65,536.
            end.copy(place, self.poison.view().slice(0, place.bytes())?)?;
        }
        ended.record(end)?;
        let lane = &self.lanes[side];
        if !leaves {
            lane.checks.wait(&ended)?;
            self.verify(&lane.checks, list.as_ref(), checked.as_ref())?;
        }
        Ok(Work {
            begun,
            ended,
            checked,
            slot: list.map(|list| list.slot),
        })
    }

    /// Compares blocks with their stamps, and marks when that is over.
    fn verify(
        &self,
        stream: &Stream,
        list: Option<&List>,
        checked: Option<&Event>,
    ) -> Result<(), Error> {
        let (Some(list), Some(checked)) = (list, checked) else {
            return Ok(());
        };
        self.stamp
            .verify_zeroed(stream, &self.contents(list), list.mismatches)?;
        checked.record(stream)
    }

    /// Two bytes where the last block of a chunk arrives, if they are to arrive wrong.
    fn sabotaged_block(&self, chunk: &Chunk<'_>) -> Result<Option<View>, Error> {
        let (Some(Sabotage::Flip), Some(last)) = (chunk.sabotage, chunk.blocks.last()) else {
            return Ok(None);
        };
        let layout = &self.kv.layout;
        let place = match (chunk.direction, &self.host) {
            (Direction::D2h, Some(host)) => host
                .view()
                .slice(u64::from(last.destination) * layout.block_bytes(), 2)?,
            (Direction::D2h, None) => return Ok(None),
            _ => self
                .kv
                .view
                .slice(layout.piece_offset(last.destination, 0), 2)?,
        };
        Ok(Some(place))
    }
}

fn entry(leaves: bool, block: &engine::device::BlockCopy) -> Entry {
    let (hbm, slot) = if leaves {
        (block.source, block.destination)
    } else {
        (block.destination, block.source)
    };
    Entry {
        block: hbm,
        slot,
        content: content_word(block.content),
    }
}
