//! Takes in rows one at a time and keeps what percentiles need: eight bytes per turn and quantity.

use crate::metrics::{Backlog, Measure, RunMetrics};
use crate::parts::{self, RowFault};
use crate::rows::{SessionRow, TurnRow};
use crate::stats::{Quantile, Summary, mean, mean_of_total, seed_p50, seed_p99};
use std::collections::BTreeSet;

/// Derives [`RunMetrics`] from rows as they come, in any order.
#[derive(Clone, Debug)]
pub struct Collector {
    measure: Measure,
    metrics: RunMetrics,
    last_token_ns: u64,
    wakeup_ns: Vec<u64>,
    ttft_ns: Vec<u64>,
    turn_ns: Vec<u64>,
    wake_turn_ns: Vec<u64>,
    tpot_ns: Vec<u64>,
    jct_ns: Vec<u64>,
    parts_total: [u128; 7],
    hidden_copy_total: u128,
    hit_tokens: u64,
    /// Sessions of which a turn was withheld.
    held: BTreeSet<u32>,
    /// Arrival of every session.
    arrivals: Vec<u64>,
    /// `(ready, end)` of every turn, warm-up included.
    spans: Vec<(u64, u64)>,
    /// Sessions with a turn outside the SLO, by number.
    missed_slo: Vec<bool>,
    /// Sessions that finished and arrived within the measured time.
    candidates: Vec<u32>,
}

impl Collector {
    /// Nothing taken in yet.
    pub fn new(measure: Measure) -> Self {
        Self {
            measure,
            metrics: RunMetrics::default(),
            last_token_ns: 0,
            wakeup_ns: Vec::new(),
            ttft_ns: Vec::new(),
            turn_ns: Vec::new(),
            wake_turn_ns: Vec::new(),
            tpot_ns: Vec::new(),
            jct_ns: Vec::new(),
            parts_total: [0; 7],
            hidden_copy_total: 0,
            hit_tokens: 0,
            held: BTreeSet::new(),
            arrivals: Vec::new(),
            spans: Vec::new(),
            missed_slo: Vec::new(),
            candidates: Vec::new(),
        }
    }

    /// Takes in a turn.
    ///
    /// # Errors
    /// If its times are out of order or its prefetch outcome is unknown. That its parts sum is checked by
    /// [`parts::check`], not here.
    pub fn turn(&mut self, row: &TurnRow) -> Result<(), RowFault> {
        parts::check_order(row)?;
        self.last_token_ns = self.last_token_ns.max(row.end_ns);
        self.spans.push((row.ready_ns, row.end_ns));
        if !self.measure.counts(row.ready_ns) {
            self.metrics.turns_outside += 1;
            return Ok(());
        }

        let m = &mut self.metrics;
        match row.prefetch.as_str() {
            "" => {}
            "in-time" => m.prefetch_in_time += 1,
            "late" => m.prefetch_late += 1,
            "wasted" => m.prefetch_wasted += 1,
            word => {
                let (session, turn) = (row.session, row.turn);
                return Err(RowFault::Prefetch {
                    session,
                    turn,
                    word: word.to_owned(),
                });
            }
        }
        m.turns += 1;
        m.input_tokens += u64::from(row.input_tokens);
        m.output_tokens += u64::from(row.output_tokens);
        m.restored_tokens += u64::from(row.restored_tokens);
        m.recomputed_tokens += u64::from(row.recomputed_tokens);
        m.preemptions += u64::from(row.preemptions);
        self.hit_tokens += u64::from(row.hit_tokens);

        if row.wake_hold_ns > 0 {
            m.held_turns += 1;
            m.held_ns += row.wake_hold_ns;
            m.held_ns_max = m.held_ns_max.max(row.wake_hold_ns);
            self.held.insert(row.session);
        }

        let first_token = row.first_token_ns - row.ready_ns;
        let turn = row.end_ns - row.ready_ns;
        self.turn_ns.push(turn);
        if row.wait_ns.is_some() {
            self.wakeup_ns.push(first_token);
            self.wake_turn_ns.push(turn);
            for (total, part) in self.parts_total.iter_mut().zip(parts::of(row)) {
                *total += u128::from(part);
            }
            self.hidden_copy_total += u128::from(row.hidden_copy_ns);
        } else {
            self.ttft_ns.push(first_token);
        }
        if row.output_tokens > 1 {
            let between = row.end_ns - row.first_token_ns;
            self.tpot_ns
                .push(between / u64::from(row.output_tokens - 1));
        }
        if first_token <= self.measure.slo_ns {
            self.metrics.slo_turns += 1;
        } else {
            let index = row.session as usize;
            if self.missed_slo.len() <= index {
                self.missed_slo.resize(index + 1, false);
            }
            self.missed_slo[index] = true;
        }
        Ok(())
    }

    /// Takes in a session.
    pub fn session(&mut self, row: &SessionRow) {
        let m = &mut self.metrics;
        m.sessions += 1;
        m.swaps += u64::from(row.swaps);
        m.restores += u64::from(row.restores);
        m.d2h_bytes += row.d2h_bytes;
        m.h2d_bytes += row.h2d_bytes;
        m.idle_byte_ms += row.idle_byte_ms;
        self.arrivals.push(row.start_ns);
        match row.end_ns {
            Some(end_ns) => {
                m.finished += 1;
                if self.measure.counts(row.start_ns) {
                    self.jct_ns.push(end_ns.saturating_sub(row.start_ns));
                    self.candidates.push(row.session);
                }
            }
            None => m.failed += 1,
        }
    }

    /// Everything that follows from the rows taken in.
    pub fn finish(mut self) -> RunMetrics {
        let missed = |session: &&u32| self.missed_slo.get(**session as usize) != Some(&true);
        self.metrics.slo_sessions = self.candidates.iter().filter(missed).count() as u64;
        self.latencies();
        self.rates();
        let backlog = Backlog::of(self.measure, &self.arrivals, &self.spans);
        self.metrics.backlog_mid = backlog.map(|b| b.mid);
        self.metrics.backlog_end = backlog.map(|b| b.end);
        self.metrics.stable = backlog.map(|b| b.stable());
        self.metrics
    }

    fn latencies(&mut self) {
        let m = &mut self.metrics;

        let wakeup = Summary::of(std::mem::take(&mut self.wakeup_ns));
        m.wakeups = wakeup.count;
        m.wakeup_ns_mean = wakeup.mean;
        m.wakeup_ns_p50 = wakeup.p50;
        m.wakeup_ns_p90 = wakeup.p90;
        m.wakeup_ns_p99 = wakeup.p99;
        m.wakeup_ns_p999 = wakeup.p999;
        m.wakeup_ns_max = wakeup.max;
        m.wakeup_p99_marked = wakeup.p99_marked();

        let part = self
            .parts_total
            .map(|total| mean_of_total(total, wakeup.count));
        m.wake_signal_ns_mean = part[0];
        m.wake_hold_ns_mean = part[1];
        m.wake_copy_ns_mean = part[2];
        m.wake_stall_ns_mean = part[3];
        m.wake_queue_ns_mean = part[4];
        m.wake_recompute_ns_mean = part[5];
        m.wake_prefill_ns_mean = part[6];
        m.held_sessions = self.held.len() as u64;
        m.hidden_copy_ns_mean = mean_of_total(self.hidden_copy_total, wakeup.count);

        let ttft = Summary::of(std::mem::take(&mut self.ttft_ns));
        m.ttft_count = ttft.count;
        m.ttft_ns_mean = ttft.mean;
        m.ttft_ns_p50 = ttft.p50;
        m.ttft_ns_p90 = ttft.p90;
        m.ttft_ns_p99 = ttft.p99;
        m.ttft_ns_max = ttft.max;
        m.ttft_p99_marked = ttft.p99_marked();

        self.turn_ns.sort_unstable();
        m.turn_ns_seed_p50 = seed_p50(&self.turn_ns);
        m.turn_ns_seed_p99 = seed_p99(&self.turn_ns);
        let turn = Summary::of(std::mem::take(&mut self.turn_ns));
        m.turn_ns_mean = turn.mean;
        m.turn_ns_p50 = turn.p50;
        m.turn_ns_p90 = turn.p90;
        m.turn_ns_p99 = turn.p99;
        m.turn_ns_max = turn.max;
        m.turn_p99_marked = turn.p99_marked();

        self.wake_turn_ns.sort_unstable();
        m.wake_turn_ns_mean = mean(&self.wake_turn_ns);
        m.wake_turn_ns_p50 = Quantile::P50.of_sorted(&self.wake_turn_ns);
        m.wake_turn_ns_p99 = Quantile::P99.of_sorted(&self.wake_turn_ns);
        m.wake_turn_ns_seed_p50 = seed_p50(&self.wake_turn_ns);
        m.wake_turn_ns_seed_p99 = seed_p99(&self.wake_turn_ns);

        let tpot = Summary::of(std::mem::take(&mut self.tpot_ns));
        m.tpot_count = tpot.count;
        m.tpot_ns_p50 = tpot.p50;
        m.tpot_ns_p99 = tpot.p99;

        let jct = Summary::of(std::mem::take(&mut self.jct_ns));
        m.jct_count = jct.count;
        m.jct_ns_mean = jct.mean;
        m.jct_ns_p50 = jct.p50;
        m.jct_ns_p99 = jct.p99;
    }

    fn rates(&mut self) {
        let m = &mut self.metrics;
        m.duration_ns = self.last_token_ns.saturating_sub(self.measure.warmup_ns);
        let measured = self.measure.until_ns.saturating_sub(self.measure.warmup_ns);
        let seconds = m.duration_ns.min(measured) as f64 / 1e9;
        let per_s = |count: u64| (seconds > 0.0).then(|| count as f64 / seconds);
        m.goodput_turns_per_s = per_s(m.slo_turns);
        m.goodput_sessions_per_s = per_s(m.slo_sessions);
        m.output_tokens_per_s = per_s(m.output_tokens);
        m.turns_per_s = per_s(m.turns);
        m.hit_ratio = (m.input_tokens > 0).then(|| self.hit_tokens as f64 / m.input_tokens as f64);
    }
}
