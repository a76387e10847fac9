//! Gathers the numbers, session by session.

use std::collections::BTreeMap;

use super::id_set::IdSet;
use super::{GapClass, GapRow, LONG_GAP_S, QuantileRow, Quantiles, SURVIVAL_S, Stat};
use crate::format::{GapKind, HashScope, History, Meta, Session};

/// Collects a [`Stat`] from sessions that come one at a time. Memory: a number per call and quantity.
pub struct Collector {
    meta: Meta,
    sessions: u64,
    subagents: u64,
    prefix_losses: u64,
    calls_per_session: Vec<f64>,
    peak_context: Vec<f64>,
    input: Vec<f64>,
    output: Vec<f64>,
    first_prompt: Vec<f64>,
    appended: BTreeMap<GapKind, Vec<f64>>,
    gaps: BTreeMap<GapKind, Vec<f64>>,
    api: Vec<f64>,
    seen: IdSet,
    hits: Hits,
    hits_after_first: Hits,
}

/// Prompt tokens, and those of them in an infinite cache.
#[derive(Default)]
struct Hits {
    hit: u64,
    all: u64,
}

impl Hits {
    fn add(&mut self, hit: u64, all: u32) {
        self.hit += hit;
        self.all += u64::from(all);
    }

    fn ratio(&self) -> Option<f64> {
        (self.all > 0).then(|| self.hit as f64 / self.all as f64)
    }
}

impl Collector {
    /// For the sessions of a trace with this `meta`.
    pub fn new(meta: Meta) -> Self {
        Self {
            meta,
            sessions: 0,
            subagents: 0,
            prefix_losses: 0,
            calls_per_session: Vec::new(),
            peak_context: Vec::new(),
            input: Vec::new(),
            output: Vec::new(),
            first_prompt: Vec::new(),
            appended: BTreeMap::new(),
            gaps: BTreeMap::new(),
            api: Vec::new(),
            seen: IdSet::default(),
            hits: Hits::default(),
            hits_after_first: Hits::default(),
        }
    }

    /// Takes in one session.
    pub fn add(&mut self, session: &Session) {
        self.sessions += 1;
        self.subagents += u64::from(session.parent.is_some());
        self.calls_per_session.push(session.calls.len() as f64);
        let peak = session
            .calls
            .iter()
            .map(|call| u64::from(call.input) + u64::from(call.output))
            .max();
        self.peak_context.push(peak.unwrap_or(0) as f64);
        let history = History::of(&self.meta, session);
        // Session-scoped ids of a sub-agent belong to its parent's namespace, but name content of its own.
        if self.meta.hash_scope.value() == Some(HashScope::Session) {
            self.seen = IdSet::default();
        }
        for (index, call) in session.calls.iter().enumerate() {
            self.input.push(f64::from(call.input));
            self.output.push(f64::from(call.output));
            self.api.extend(
                call.observed
                    .as_ref()
                    .and_then(|o| o.api_ms)
                    .map(|ms| ms.nanos().as_secs_f64()),
            );
            let keep = history.keep[index];
            if index == 0 {
                self.first_prompt.push(f64::from(call.input));
            } else {
                let before = &session.calls[index - 1];
                let lost = keep < before.input.min(call.input);
                self.prefix_losses += u64::from(lost);
                self.gaps
                    .entry(call.gap_kind)
                    .or_default()
                    .push(call.gap_ms.nanos().as_secs_f64());
                let grown =
                    i64::from(call.input) - i64::from(before.input) - i64::from(before.output);
                if grown > 0 && !lost {
                    self.appended
                        .entry(call.gap_kind)
                        .or_default()
                        .push(grown as f64);
                }
            }
            let hit = match history.blocks.get(index).zip(self.meta.block_size.value()) {
                Some((list, size)) => {
                    let blocks = self.seen.leading(list);
                    self.seen.insert(list);
                    (blocks * u64::from(size)).min(u64::from(call.input))
                }
                None => u64::from(keep),
            };
            self.hits.add(hit, call.input);
            if index > 0 {
                self.hits_after_first.add(hit, call.input);
            }
        }
    }

    /// The sums and distributions of all sessions.
    pub fn finish(mut self) -> Stat {
        let mut quantiles = Vec::new();
        let mut row = |name, values: &mut [f64]| {
            quantiles
                .extend(Quantiles::of(values).map(|quantiles| QuantileRow { name, quantiles }));
        };
        let (calls, input_tokens) = (self.input.len() as u64, sum(&self.input));
        let output_tokens = sum(&self.output);
        row("calls_per_session", &mut self.calls_per_session);
        row("first_prompt_tokens", &mut self.first_prompt);
        row("input_tokens", &mut self.input);
        row("output_tokens", &mut self.output);
        row(
            "appended_after_tool_tokens",
            &mut of_class(&self.appended, GapClass::ToolOrMixed),
        );
        row(
            "appended_after_human_tokens",
            &mut of_class(&self.appended, GapClass::Human),
        );
        row(
            "appended_after_unknown_tokens",
            &mut of_class(&self.appended, GapClass::Unknown),
        );
        row("context_max_tokens", &mut self.peak_context);
        row("api_s", &mut self.api);
        let gaps = GapClass::ALL
            .into_iter()
            .filter_map(|kind| gap_row(kind, of_class(&self.gaps, kind)));
        Stat {
            source: self.meta.source.clone(),
            sessions: self.sessions,
            subagents: self.subagents,
            calls,
            input_tokens,
            output_tokens,
            prefix_losses: self.prefix_losses,
            gaps: gaps.collect(),
            quantiles,
            prefix_hit_ratio: self.hits.ratio(),
            prefix_hit_ratio_after_first: self.hits_after_first.ratio(),
        }
    }
}

/// Token counts are whole and far below 2^53, so their sum is exact.
fn sum(values: &[f64]) -> u64 {
    values.iter().sum::<f64>() as u64
}

fn of_class(by_kind: &BTreeMap<GapKind, Vec<f64>>, class: GapClass) -> Vec<f64> {
    let wanted = by_kind.iter().filter(|(kind, _)| class.contains(**kind));
    wanted
        .flat_map(|(_, values)| values.iter().copied())
        .collect()
}

fn gap_row(kind: GapClass, mut seconds: Vec<f64>) -> Option<GapRow> {
    let quantiles = Quantiles::of(&mut seconds)?;
    let total_s: f64 = seconds.iter().sum();
    let long_s: f64 = seconds.iter().filter(|&&gap| gap > LONG_GAP_S).sum();
    let count = seconds.len();
    let survival = SURVIVAL_S
        .map(|t| (count - seconds.partition_point(|&gap| gap <= t)) as f64 / count as f64);
    let long_share = (total_s > 0.0).then(|| long_s / total_s);
    Some(GapRow {
        kind,
        quantiles,
        total_s,
        long_share,
        survival,
    })
}
