//! What Continuum believes a resident context to be worth: B = Tq·eta + reload.
//!
//! Tq is the mean queueing delay of turns that came back to find KV evicted. eta = -Corr(k, N - k), over the turns k of sessions that ended
//! after N turns: 1 if a session's end is certain (all have equal N), 0 if turns have no memory.
//!
//! A turn whose hit is smaller than the full blocks of its context counts as evicted: a server cannot tell lost KV from rewritten history.

use super::Sample;
use model::{Event, View};

/// What it learns.
#[derive(Clone, Debug)]
pub(crate) struct Benefit {
    delays: Sample,
    turns: TurnCounts,
}

impl Benefit {
    /// Queueing delays count for the latest `window` evicted turns.
    pub fn new(window: usize) -> Self {
        Self {
            delays: Sample::new(window),
            turns: TurnCounts::default(),
        }
    }

    pub fn observe(&mut self, view: &View<'_>, event: &Event) {
        match *event {
            Event::Admitted {
                session,
                hit,
                waited,
                ..
            } => {
                let seen = view.session(session);
                // The last token of a context never had KV of its own.
                let with_kv = seen.context.0.saturating_sub(1);
                let full = with_kv / view.block_tokens * view.block_tokens;
                if seen.turn.0 > 0 && hit.0 < full {
                    self.delays.push(waited);
                }
            }
            Event::Ended(session) => self.turns.push(u64::from(view.session(session).turn.0) + 1),
            _ => {}
        }
    }

    /// B in seconds, for a context that takes `reload_s` to bring back.
    pub fn seconds(&self, reload_s: f64) -> f64 {
        self.delays.mean_s().unwrap_or(0.0) * self.turns.eta() + reload_s
    }
}

/// Sums over the pairs (k, N - k), k = 1..N, of sessions with N turns.
#[derive(Clone, Copy, Debug, Default)]
struct TurnCounts {
    sessions: u64,
    pairs: i128,
    x: i128,
    y: i128,
    xx: i128,
    yy: i128,
    xy: i128,
}

impl TurnCounts {
    fn push(&mut self, turns: u64) {
        let n = i128::from(turns);
        self.sessions += 1;
        self.pairs += n;
        self.x += n * (n + 1) / 2;
        self.y += n * (n - 1) / 2;
        self.xx += n * (n + 1) * (2 * n + 1) / 6;
        self.yy += (n - 1) * n * (2 * n - 1) / 6;
        self.xy += (n - 1) * n * (n + 1) / 6;
    }

    /// 1 with fewer than two sessions, or where turns do not vary.
    fn eta(&self) -> f64 {
        let covariance = (self.pairs * self.xy - self.x * self.y) as f64;
        let spread = |squares, sum: i128| ((self.pairs * squares - sum * sum) as f64).sqrt();
        let both = spread(self.xx, self.x) * spread(self.yy, self.y);
        if self.sessions < 2 || both <= 0.0 {
            return 1.0;
        }
        -covariance / both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(turns: &[u64]) -> f64 {
        let mut counts = TurnCounts::default();
        for &n in turns {
            counts.push(n);
        }
        counts.eta()
    }

    #[test]
    fn equal_turn_counts_make_the_end_certain() {
        // k = 1, 2, 3 against 2, 1, 0: Corr = -1.
        assert!((of(&[3, 3, 3]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn without_history_the_end_counts_as_certain() {
        assert_eq!(
            (of(&[]).to_bits(), of(&[7]).to_bits()),
            (1.0f64.to_bits(), 1.0f64.to_bits())
        );
        assert_eq!(of(&[1, 1]).to_bits(), 1.0f64.to_bits());
    }

    #[test]
    fn unequal_turn_counts_tell_less() {
        // Pairs of N = 1: (1, 0). Of N = 3: (1, 2), (2, 1), (3, 0). n = 4, sums x 7, y 3, xx 15, yy 5, xy 4.
        // Corr = (4·4 - 7·3) / (sqrt(4·15 - 49)·sqrt(4·5 - 9)) = -5 / (sqrt(11)·sqrt(11)) = -5/11.
        assert!((of(&[1, 3]) - 5.0 / 11.0).abs() < 1e-12);
    }
}
