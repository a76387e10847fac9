//! What cached blocks are worth.

use super::Ledger;
use model::{Blocks, Price, SessionId, Tier};

impl Ledger {
    /// What is cached of the `blocks` blocks of a context from `from` on, and nobody holds, has `price` from now on. Returns how many
    /// blocks that are.
    pub fn price(&mut self, session: SessionId, from: u32, blocks: Blocks, price: Price) -> u32 {
        let kv = &self.sessions[session.index()];
        let to = from
            .saturating_add(blocks.0)
            .min(self.pool(Tier::Hbm).capacity());
        if from >= to {
            return 0;
        }
        self.hbm.price(&kv.content, from, to, price)
    }
}
