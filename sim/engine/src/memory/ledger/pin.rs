//! What is held of a session between turns, and how it is let go without a copy.

use super::Ledger;
use crate::memory::Table;
use model::{End, SessionId};

impl Ledger {
    /// The pin ends: blocks go to the prefix cache. Returns how many became free.
    pub fn release_pin(&mut self, session: SessionId) -> u32 {
        let before = self.hbm.free();
        let kv = &mut self.sessions[session.index()];
        if kv.run.is_empty() && kv.transfer.is_none() {
            let behind = std::mem::take(&mut kv.behind);
            self.hbm.release(behind);
        }
        self.release_part(session, End::Back, u32::MAX);
        self.hbm.free() - before
    }

    /// The pin ends and what only this session can have is dropped; what others may share goes to the prefix cache.
    /// Returns how many blocks became free.
    pub fn discard_pin(&mut self, session: SessionId) -> u32 {
        self.discard_part(session, End::Back, u32::MAX)
    }

    /// The first or last `blocks` blocks of the pin go to the prefix cache. Returns how many became free.
    pub fn release_part(&mut self, session: SessionId, end: End, blocks: u32) -> u32 {
        let before = self.hbm.free();
        let (part, _) = self.sessions[session.index()].split_pin(end, blocks);
        self.hbm.release(part);
        self.hbm.free() - before
    }

    /// The first or last `blocks` blocks of the pin are dropped, those that others may share go to the prefix cache. Returns how many
    /// became free.
    pub fn discard_part(&mut self, session: SessionId, end: End, blocks: u32) -> u32 {
        let before = self.hbm.free();
        let kv = &mut self.sessions[session.index()];
        let (mut part, base) = kv.split_pin(end, blocks);
        let own = part.split_off(kv.content.shared_blocks().saturating_sub(base));
        self.hbm.discard(own);
        self.hbm.release(part);
        self.hbm.free() - before
    }
}

impl super::Kv {
    /// One past the last position of the pin.
    pub fn pin_end(&self) -> u32 {
        self.pin_base + self.pin.blocks()
    }

    /// One past the last position of what the host has.
    pub fn host_end(&self) -> u32 {
        self.host_base + self.host.blocks()
    }

    /// Takes the first or last `blocks` blocks of the pin, with the position of their first.
    pub(super) fn split_pin(&mut self, end: End, blocks: u32) -> (Table, u32) {
        let blocks = blocks.min(self.pin.blocks());
        match end {
            End::Back => {
                let base = self.pin_end() - blocks;
                (self.split_pin_from(base), base)
            }
            End::Front => {
                let base = self.pin_base;
                let rest = self.pin.split_off(blocks);
                let front = std::mem::replace(&mut self.pin, rest);
                self.pin_base = if self.pin.is_empty() {
                    0
                } else {
                    base + blocks
                };
                (front, base)
            }
        }
    }

    /// Takes what the pin holds from `position` on.
    pub(super) fn split_pin_from(&mut self, position: u32) -> Table {
        let back = self.pin.split_off(position.saturating_sub(self.pin_base));
        if self.pin.is_empty() {
            self.pin_base = 0;
        }
        back
    }
}
