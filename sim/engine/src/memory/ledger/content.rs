//! What a session's context holds changes: what is held of the rest is given up.

use super::Ledger;
use model::{ContentRun, SessionId};

impl Ledger {
    /// The prompt of the next turn is known: from block `kept` on, it differs from the context so far. What is held of the
    /// rest is dropped. There must be no transfer.
    pub fn rewrite_from(&mut self, session: SessionId, kept: u32) {
        let kv = &mut self.sessions[session.index()];
        kv.content.rewrite_from(&mut self.lineages, kept);
        self.truncate(session, kept);
    }

    /// The trace names the content of the next prompt. What is held beyond the blocks that agree with the context so far is dropped.
    /// There must be no transfer.
    pub fn replace_content(&mut self, session: SessionId, runs: &[ContentRun]) {
        let kv = &mut self.sessions[session.index()];
        let before = kv.content.clone();
        kv.content.replace(&mut self.lineages, runs);
        let kept = kv.content.common_blocks(&before);
        self.truncate(session, kept);
    }

    /// Gives up what is held from position `kept` on, which is the context's no more.
    fn truncate(&mut self, session: SessionId, kept: u32) {
        let kv = &mut self.sessions[session.index()];
        debug_assert!(
            kv.transfer.is_none(),
            "a transfer is settled before the content changes"
        );
        let dead = kv.split_pin_from(kept);
        self.hbm.release(dead);
        let dead = kv.host.split_off(kept.saturating_sub(kv.host_base));
        if kv.host.is_empty() {
            kv.host_base = 0;
        }
        self.host.release(dead);
        self.truncate_disk(session, kept);
    }
}
