//! What is held of a session between turns, and how it is let go without a copy.

use super::Ledger;
use crate::memory::Table;
use model::SessionId;

impl Ledger {
    /// The pin ends: blocks go to the prefix cache.
    pub fn release_pin(&mut self, session: SessionId) -> u32 {
        let pin = std::mem::take(&mut self.sessions[session.index()].pin);
        let before = self.hbm.free();
        self.hbm.release(pin);
        self.hbm.free() - before
    }

    /// The pin ends and what only this session can have is dropped; what others may share goes to the prefix cache.
    /// Returns how many blocks became free.
    pub fn discard_pin(&mut self, session: SessionId) -> u32 {
        let kv = &mut self.sessions[session.index()];
        let before = self.hbm.free();
        let mut pin = std::mem::take(&mut kv.pin);
        let own = pin.split_off(kv.content.shared_blocks());
        self.hbm.discard(own);
        self.hbm.release(pin);
        self.hbm.free() - before
    }

    /// The last `blocks` blocks of the pin go to the prefix cache. Returns how many became free.
    pub fn release_back(&mut self, session: SessionId, blocks: u32) -> u32 {
        let before = self.hbm.free();
        let back = self.split_back(session, blocks);
        self.hbm.release(back);
        self.hbm.free() - before
    }

    /// The last `blocks` blocks of the pin are dropped, those that others may share go to the prefix cache. Returns how many became free.
    pub fn discard_back(&mut self, session: SessionId, blocks: u32) -> u32 {
        let before = self.hbm.free();
        let mut back = self.split_back(session, blocks);
        let kv = &self.sessions[session.index()];
        let own = kv.content.shared_blocks().saturating_sub(kv.pin.blocks());
        let own = back.split_off(own);
        self.hbm.discard(own);
        self.hbm.release(back);
        self.hbm.free() - before
    }

    fn split_back(&mut self, session: SessionId, blocks: u32) -> Table {
        let pin = &mut self.sessions[session.index()].pin;
        pin.split_off(pin.blocks().saturating_sub(blocks))
    }
}
