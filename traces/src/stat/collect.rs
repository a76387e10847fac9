//! Gathers the numbers, session by session.

use std::collections::BTreeMap;

use super::arrivals::Starts;
use super::id_set::IdSet;
use super::{
    Ecdf, GapClass, GapRow, LONG_GAP_S, LognormalFit, QuantileRow, Quantiles, Quantity, SURVIVAL_S,
    Sample, Stat, ToolRow, Turnover,
};
use crate::format::{Call, GapKind, HashScope, History, Meta, Session};

/// Classes of tools that have a row of their own; the classes after that go into [`OTHER_TOOLS`].
const TOOL_CLASSES_MAX: usize = 1_000;
/// Name of the row of tools whose class came too late to have one.
const OTHER_TOOLS: &str = "(other classes)";

/// Collects a [`Stat`] from sessions that come one at a time. Memory: at most 8 MiB per quantity and class of tools, the
/// ranges of block ids, and a number per session.
pub struct Collector {
    meta: Meta,
    sessions: u64,
    subagents: u64,
    calls: u64,
    input_tokens: u64,
    output_tokens: u64,
    prefix_losses: u64,
    calls_with_tools: u64,
    calls_with_parallel_tools: u64,
    turnover: Turnover,
    /// Whether an importer corrected gaps.
    corrected: bool,
    /// By quantity; gaps by kind, without the classes that join two.
    samples: BTreeMap<Quantity, Sample>,
    tools: BTreeMap<String, Sample>,
    starts: Starts,
    seen: IdSet,
    hits: Hits,
    hits_after_first: Hits,
    cached_after_first: Hits,
    gaps_with_api_s: f64,
    api_s: f64,
}

/// Prompt tokens, and those of them in a cache.
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
            starts: Starts::new(&meta),
            meta,
            sessions: 0,
            subagents: 0,
            calls: 0,
            input_tokens: 0,
            output_tokens: 0,
            prefix_losses: 0,
            calls_with_tools: 0,
            calls_with_parallel_tools: 0,
            turnover: Turnover::default(),
            corrected: false,
            samples: BTreeMap::new(),
            tools: BTreeMap::new(),
            seen: IdSet::default(),
            hits: Hits::default(),
            hits_after_first: Hits::default(),
            cached_after_first: Hits::default(),
            gaps_with_api_s: 0.0,
            api_s: 0.0,
        }
    }

    /// Takes in one session.
    pub fn add(&mut self, session: &Session) {
        self.sessions += 1;
        self.subagents += u64::from(session.parent.is_some());
        self.starts.add(session);
        self.put(Quantity::CallsPerSession, session.calls.len() as f64);
        let peak = session
            .calls
            .iter()
            .map(|call| u64::from(call.input) + u64::from(call.output))
            .max();
        self.put(Quantity::ContextMax, peak.unwrap_or(0) as f64);
        let history = History::of(&self.meta, session);
        // Session-scoped ids of a sub-agent belong to its parent's namespace, but name content of its own.
        if self.meta.hash_scope.value() == Some(HashScope::Session) {
            self.seen = IdSet::default();
        }
        let mut from_human = true;
        for (index, call) in session.calls.iter().enumerate() {
            self.call(call);
            let keep = history.keep[index];
            match index.checked_sub(1).map(|before| &session.calls[before]) {
                None => self.put(Quantity::FirstPrompt, f64::from(call.input)),
                Some(before) => {
                    self.wait(before, call, keep);
                    if session.parent.is_none() {
                        self.turnover.add(&mut from_human, call.gap_kind);
                    }
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
                if let Some(cached) = call.cached {
                    self.cached_after_first.add(u64::from(cached), call.input);
                }
            }
        }
    }

    fn call(&mut self, call: &Call) {
        self.calls += 1;
        self.input_tokens += u64::from(call.input);
        self.output_tokens += u64::from(call.output);
        self.put(Quantity::Input, f64::from(call.input));
        self.put(Quantity::Output, f64::from(call.output));
        if let Some(ms) = call.observed.as_ref().and_then(|o| o.api_ms) {
            let seconds = ms.nanos().as_secs_f64();
            self.put(Quantity::Api, seconds);
            self.api_s += seconds;
            self.gaps_with_api_s += call.gap_ms.nanos().as_secs_f64();
        }
        let tools = call.tools.as_deref().unwrap_or_default();
        self.calls_with_tools += u64::from(!tools.is_empty());
        self.calls_with_parallel_tools += u64::from(tools.len() > 1);
        for tool in tools {
            let class = tool.cls.as_ref().unwrap_or(&tool.name);
            let known = self.tools.len() < TOOL_CLASSES_MAX || self.tools.contains_key(class);
            let class = if known { class } else { OTHER_TOOLS };
            let seconds = tool.dur_ms.nanos().as_secs_f64();
            self.tools
                .entry(class.to_owned())
                .or_default()
                .push(seconds);
        }
    }

    fn wait(&mut self, before: &Call, call: &Call, keep: u32) {
        // A block more or less at the end of a prompt is no loss: whoever rewrites history loses most of it.
        let lost = u64::from(keep) * 10 < u64::from(before.input) * 9;
        self.prefix_losses += u64::from(lost);
        let Some(class) = class_of(call.gap_kind) else {
            return;
        };
        self.put(Quantity::Gap(class), call.gap_ms.nanos().as_secs_f64());
        // Where an importer corrected gaps, those that it left alone were recorded so.
        let raw = call.gap_raw_ms.unwrap_or(call.gap_ms);
        self.put(Quantity::GapRaw(class), raw.nanos().as_secs_f64());
        self.corrected |= call.gap_raw_ms.is_some();
        let grown = i64::from(call.input) - i64::from(before.input) - i64::from(before.output);
        if grown > 0 && !lost {
            self.put(Quantity::Appended(class), grown as f64);
        }
    }

    fn put(&mut self, quantity: Quantity, value: f64) {
        self.samples.entry(quantity).or_default().push(value);
    }

    /// The distribution of every quantity that occurs: those of tool and mixed waits apart and together.
    pub fn ecdfs(&mut self) -> BTreeMap<Quantity, Ecdf> {
        let mut samples = std::mem::take(&mut self.samples);
        let of_class: [fn(GapClass) -> Quantity; 3] =
            [Quantity::Gap, Quantity::GapRaw, Quantity::Appended];
        for quantity in of_class {
            let mut both = Sample::default();
            for class in [GapClass::Tool, GapClass::Mixed] {
                if let Some(sample) = samples.get(&quantity(class)) {
                    both.extend(sample);
                }
            }
            samples.insert(quantity(GapClass::ToolOrMixed), both);
        }
        if !self.corrected {
            samples.retain(|quantity, _| !matches!(quantity, Quantity::GapRaw(_)));
        }
        samples
            .into_iter()
            .filter_map(|(quantity, sample)| Some((quantity, sample.ecdf()?)))
            .collect()
    }

    /// The sums and distributions of all sessions.
    pub fn finish(mut self) -> Stat {
        let ecdfs = self.ecdfs();
        let shown = ecdfs
            .iter()
            .filter(|(quantity, _)| !matches!(quantity, Quantity::Gap(_)) && quantity.is_told());
        let quantiles = shown.map(|(&quantity, ecdf)| QuantileRow {
            name: quantity.name(),
            quantiles: Quantiles::of(ecdf),
            fit: LognormalFit::of(ecdf),
        });
        let gaps = GapClass::ALL
            .into_iter()
            .filter_map(|kind| Some(gap_row(kind, ecdfs.get(&Quantity::Gap(kind))?)));
        let tools = self.tools.into_iter().filter_map(|(class, sample)| {
            let ecdf = sample.ecdf()?;
            Some(ToolRow {
                class,
                quantiles: Quantiles::of(&ecdf),
                total_s: ecdf.sum(),
                fit: LognormalFit::of(&ecdf),
            })
        });
        let wall_s = self.gaps_with_api_s + self.api_s;
        Stat {
            source: self.meta.source.clone(),
            sessions: self.sessions,
            subagents: self.subagents,
            calls: self.calls,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            prefix_losses: self.prefix_losses,
            calls_with_tools: self.calls_with_tools,
            calls_with_parallel_tools: self.calls_with_parallel_tools,
            turnover: self.turnover,
            arrivals: self.starts.finish(),
            gaps: gaps.collect(),
            tools: tools.collect(),
            quantiles: quantiles.collect(),
            prefix_hit_ratio: self.hits.ratio(),
            prefix_hit_ratio_after_first: self.hits_after_first.ratio(),
            cached_ratio_after_first: self.cached_after_first.ratio(),
            idle_ratio: (self.api_s > 0.0).then(|| self.gaps_with_api_s / wall_s),
        }
    }
}

/// The class of this kind alone; `None` where there is no wait.
fn class_of(kind: GapKind) -> Option<GapClass> {
    match kind {
        GapKind::None => None,
        GapKind::Tool => Some(GapClass::Tool),
        GapKind::Human => Some(GapClass::Human),
        GapKind::Mixed => Some(GapClass::Mixed),
        GapKind::Unknown => Some(GapClass::Unknown),
    }
}

fn gap_row(kind: GapClass, seconds: &Ecdf) -> GapRow {
    let total_s = seconds.sum();
    let long = seconds.counts().filter(|(gap, _)| *gap > LONG_GAP_S);
    // Not `sum`: that of no values is -0.
    let long_s = long.fold(0.0, |sum, (gap, count)| sum + gap * count as f64);
    GapRow {
        kind,
        quantiles: Quantiles::of(seconds),
        fit: LognormalFit::of(seconds),
        total_s,
        long_share: (total_s > 0.0).then(|| long_s / total_s),
        survival: SURVIVAL_S.map(|t| 1.0 - seconds.at(t)),
    }
}
