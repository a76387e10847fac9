//! Generated fleets beside the traces that they stand for.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::common::shared;
use crate::sources;
use trace::generate::Generator;
use trace::import::Sink;
use trace::stat::{GapClass, Quantity};
use trace::tools::{Band, Diff, Only, OnlyMatching, feed};

/// Resamples of a source that its band is made of.
const RESAMPLES: u32 = 400;

/// Times as many sessions are generated as the source has, so that chance on their side does not count.
const TIMES: u32 = 10;

/// An archetype and its source.
struct Pair<'a> {
    archetype: &'static str,
    source: &'static str,
    path: &'a Path,
    only: Only,
    /// Waits below this are not resolved by the source.
    floor_s: f64,
    quantities: &'static [Quantity],
}

/// The table; `None` where a public file is absent.
pub fn table() -> Option<String> {
    use Quantity::{Appended, CallsPerSession, Gap, Input, Output};
    let made = sources::make()?;
    let agentcgroup = shared("agentcgroup-claude-code/sessions.jsonl.zst")?;
    let tau2 = shared("tau2-bench/sessions.jsonl.zst")?;
    let gpt = ["gpt-4.1_airline", "gpt-4.1_retail", "gpt-4.1_telecom"];
    let pairs = [
        Pair {
            archetype: "interactive-coding",
            source: "Weka, main agents, one per cluster",
            path: &made.weka,
            only: Only::default(),
            floor_s: 1.0,
            quantities: &[
                CallsPerSession,
                Input,
                Output,
                Appended(GapClass::ToolOrMixed),
                Appended(GapClass::Human),
                Gap(GapClass::ToolOrMixed),
                Gap(GapClass::Human),
            ],
        },
        Pair {
            archetype: "batch-coding",
            source: "agentcgroup, GLM-4.7-Flash",
            path: &agentcgroup,
            only: sources::only(&["glm-4.7-flash-local"], true),
            floor_s: 0.0,
            quantities: &[
                CallsPerSession,
                Input,
                Output,
                Appended(GapClass::ToolOrMixed),
            ],
        },
        Pair {
            archetype: "batch-coding",
            source: "agentcgroup, Haiku-4.5",
            path: &agentcgroup,
            only: sources::only(&["claude-haiku-4.5-cloud"], true),
            floor_s: 0.0,
            quantities: &[Gap(GapClass::ToolOrMixed)],
        },
        Pair {
            archetype: "function-calling",
            source: "tau2, GPT-4.1",
            path: &tau2,
            only: sources::only(&gpt, false),
            floor_s: 0.0,
            quantities: &[
                CallsPerSession,
                Input,
                Output,
                Appended(GapClass::ToolOrMixed),
                Appended(GapClass::Human),
            ],
        },
        Pair {
            archetype: "chat",
            source: "Mooncake conversation, chained",
            path: &made.chained,
            only: Only::default(),
            floor_s: 0.0,
            quantities: &[
                CallsPerSession,
                Input,
                Output,
                Appended(GapClass::Unknown),
                Gap(GapClass::Unknown),
            ],
        },
    ];
    let mut table = "| archetype | source | quantity | median, p90 of the source | generated | KS | 95 % band of the source |\n\
                     |---|---|---|---|---|---|---|\n"
        .to_owned();
    for pair in pairs {
        table += &rows(&pair);
    }
    Some(table)
}

fn rows(pair: &Pair<'_>) -> String {
    let (mut source, mut band, mut sessions) = (Diff::default(), Band::default(), Count::default());
    for sink in [&mut source as &mut dyn Sink, &mut band, &mut sessions] {
        feed(
            pair.path,
            &mut OnlyMatching::new(&pair.only, "source", sink),
        )
        .unwrap();
    }
    let mut changes = toml::Table::new();
    changes.insert("agents".to_owned(), i64::from(sessions.0 * TIMES).into());
    let agents = Generator::find(pair.archetype, changes)
        .unwrap()
        .sessions(1)
        .unwrap();
    let mut generated = Diff::default();
    // What the source cannot tell apart counts as one class in what is generated, too.
    let mut unknown = agents.meta();
    "generated".clone_into(&mut unknown.source);
    generated.meta(&unknown).unwrap();
    let is_unknown = pair.quantities.contains(&Quantity::Gap(GapClass::Unknown));
    for session in agents {
        let mut session = session.unwrap();
        if is_unknown {
            for call in session.calls.iter_mut().skip(1) {
                call.gap_kind = trace::format::GapKind::Unknown;
            }
        }
        generated.session(session).unwrap();
    }
    let distances = band.distances(RESAMPLES, 1, pair.floor_s);
    let rows = source.rows(generated, pair.floor_s, &distances);
    let rows: BTreeMap<&str, _> = rows
        .iter()
        .map(|row| (row.quantity.as_str(), row))
        .collect();
    let mut text = String::new();
    for quantity in pair.quantities {
        let row = rows[quantity.name().as_str()];
        let pair_of = |p50: Option<f64>, p90: Option<f64>| {
            let number = |value: Option<f64>| match value.unwrap() {
                value if value < 100.0 => format!("{value:.1}"),
                value => format!("{value:.0}"),
            };
            format!("{}, {}", number(p50), number(p90))
        };
        let (ks, limit) = (row.ks.unwrap(), row.band_95.unwrap());
        let within = if ks <= limit { "within" } else { "outside" };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {ks:.3} | {limit:.3}: {within} |",
            pair.archetype,
            pair.source,
            row.quantity,
            pair_of(row.p50_a, row.p90_a),
            pair_of(row.p50_b, row.p90_b),
        );
    }
    text
}

/// Counts sessions.
#[derive(Default)]
struct Count(u32);

impl Sink for Count {
    fn meta(&mut self, _: &trace::format::Meta) -> Result<(), trace::TraceError> {
        Ok(())
    }

    fn session(&mut self, _: trace::format::Session) -> Result<(), trace::TraceError> {
        self.0 += 1;
        Ok(())
    }
}
