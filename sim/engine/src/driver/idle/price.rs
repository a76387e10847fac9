//! What the prefix cache keeps of a session is priced: asked when blocks have gone there, and again when a price ends.

use super::super::Driver;
use crate::device::Device;
use crate::events::Due;
use crate::record::What;
use model::{Blocks, Price, Priced, SessionId, Time};

impl<D: Device> Driver<'_, D> {
    /// Blocks of the session have just gone to the prefix cache: the policy says what they are worth.
    pub(in super::super) fn price(&mut self, session: SessionId) {
        let prices = self.ask(|policy, view| policy.price(view, session));
        if prices.is_empty() && self.live[session.index()].prices.is_empty() {
            return;
        }
        let mut from = 0;
        for &Priced {
            blocks,
            price,
            until,
        } in &prices
        {
            // What has just been released is worth that already.
            if until > self.now && price != Price::NORMAL {
                self.set_price(session, from, blocks, price, until);
            }
            from = from.saturating_add(blocks.0);
        }
        let live = &mut self.live[session.index()];
        live.prices = prices;
        live.priced += 1;
        self.await_end_of_price(session);
    }

    fn await_end_of_price(&mut self, session: SessionId) {
        let live = &self.live[session.index()];
        let ends = live.prices.iter().map(|priced| priced.until);
        let next = ends.filter(|&until| until > self.now).min();
        self.events.push(
            next.unwrap_or(Time::NEVER),
            Due::PriceEnds,
            session,
            live.priced,
        );
    }

    /// A price has ended, unless it has been replaced since.
    pub(in super::super) fn price_ends(&mut self, session: SessionId, priced: u32) {
        if self.live[session.index()].priced != priced {
            return;
        }
        let prices = std::mem::take(&mut self.live[session.index()].prices);
        let mut from = 0;
        for &Priced { blocks, until, .. } in &prices {
            if until == self.now {
                self.set_price(session, from, blocks, Price::NORMAL, Time::NEVER);
            }
            from = from.saturating_add(blocks.0);
        }
        self.live[session.index()].prices = prices;
        self.await_end_of_price(session);
    }

    fn set_price(
        &mut self,
        session: SessionId,
        from: u32,
        blocks: Blocks,
        price: Price,
        until: Time,
    ) {
        let priced = self.ledger.price(session, from, blocks, price);
        if priced > 0 {
            self.log(session, What::Price(priced, price, until));
        }
    }
}
