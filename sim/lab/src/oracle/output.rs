//! The files of the reference harness.

use super::trace::Trace;
use super::{OracleArgs, OracleError};
use engine::record::{StepRecord, TurnRecord};
use engine::{OffloadSummary, RunSummary};
use flate2::write::GzEncoder;
use model::{Direction, Nanos, Time};
use results::sha256_hex;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

const TURN_COLUMNS: &str = "session,turn,arrival_s,first_sched_s,first_token_s,finish_s,ttft_s,prompt_tokens,\
                            output_tokens,cached_tokens,ext_cached_tokens,preemptions,resume_start_tokens,loads,loaded_tokens";
const STEP_COLUMNS: &str = "step,t_start_s,t_end_s,running,waiting,free_blocks,sched_tokens,prefill_tokens,\
                            decode_seqs,kv_tokens_read,preempted,finished";

/// Contents of the three files.
#[derive(Clone, Debug)]
pub struct OracleOutput {
    /// `turns.csv`.
    pub turns: String,
    /// `steps.csv`, complete.
    pub steps: String,
    /// `summary.json`.
    pub summary: Value,
}

impl OracleOutput {
    pub(super) fn new(
        args: &OracleArgs,
        trace: &Trace,
        mut turns: Vec<TurnRecord>,
        steps: &[StepRecord],
        summary: RunSummary,
    ) -> Self {
        turns.sort_by_key(|turn| (turn.session, turn.turn));
        let turns_csv = turns_csv(trace, &turns);
        let steps_csv = steps_csv(steps, args.freeq_crc);
        let summary = summary_json(args, trace, &turns, steps, summary, &turns_csv, &steps_csv);
        Self {
            turns: turns_csv,
            steps: steps_csv,
            summary,
        }
    }

    /// Writes the three files into the folder of the arguments.
    ///
    /// # Errors
    /// If one cannot be written.
    pub fn write(&self, args: &OracleArgs) -> Result<(), OracleError> {
        let out = &args.out;
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |error| OracleError::File { path, error }
        };
        std::fs::create_dir_all(out).map_err(fail(out))?;
        let put = |name: &str, bytes: &[u8]| {
            let path = out.join(name);
            std::fs::write(&path, bytes).map_err(fail(&path))
        };
        put("turns.csv", self.turns.as_bytes())?;
        let rows = if args.steps_head > 0 {
            args.steps_head + 1
        } else {
            usize::MAX
        };
        let steps: String = self.steps.split_inclusive('\n').take(rows).collect();
        let (name, other) = if args.gzip_steps {
            ("steps.csv.gz", "steps.csv")
        } else {
            ("steps.csv", "steps.csv.gz")
        };
        let stale = out.join(other);
        if stale.exists() {
            std::fs::remove_file(&stale).map_err(fail(&stale))?;
        }
        if args.gzip_steps {
            let mut gz = GzEncoder::new(Vec::new(), flate2::Compression::best());
            gz.write_all(steps.as_bytes()).map_err(fail(out))?;
            put(name, &gz.finish().map_err(fail(out))?)?;
        } else {
            put(name, steps.as_bytes())?;
        }
        put("summary.json", pretty(&self.summary).as_bytes())
    }
}

fn turns_csv(trace: &Trace, turns: &[TurnRecord]) -> String {
    let mut csv = format!("{TURN_COLUMNS}\n");
    for turn in turns {
        let ttft = Time(turn.first_token.since(turn.ready).0);
        let _ = writeln!(
            csv,
            "{},{},{},{},{},{},{ttft},{},{},{},{},{},{},{},{}",
            field(&trace.sessions[turn.session.index()].name),
            turn.turn,
            turn.ready,
            turn.scheduled,
            turn.first_token,
            turn.end,
            turn.input.0,
            turn.output.0,
            turn.hit_hbm.0,
            turn.host_loads.hit.0,
            turn.preemptions,
            turn.resumed.0,
            turn.host_loads.count,
            turn.host_loads.tokens.0,
        );
    }
    csv
}

/// A CSV field, quoted where Python's writer would quote it.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn steps_csv(steps: &[StepRecord], crc: bool) -> String {
    let mut csv = format!("{STEP_COLUMNS}{}\n", if crc { ",freeq_crc32" } else { "" });
    for (i, step) in steps.iter().enumerate() {
        let _ = write!(
            csv,
            "{i},{},{},{},{},{},{},{},{},{},{},{}",
            step.start,
            step.end,
            step.running,
            step.waiting,
            step.free,
            step.tokens,
            step.prefill_tokens,
            step.decode_seqs,
            step.kv_tokens,
            step.preempted,
            step.finished,
        );
        if let Some(queue) = &step.queue {
            let mut hasher = flate2::Crc::new();
            for block in queue {
                hasher.update(&block.to_le_bytes());
            }
            let _ = write!(csv, ",{:08x}", hasher.sum());
        }
        csv.push('\n');
    }
    csv
}

fn summary_json(
    args: &OracleArgs,
    trace: &Trace,
    turns: &[TurnRecord],
    steps: &[StepRecord],
    summary: RunSummary,
    turns_csv: &str,
    steps_csv: &str,
) -> Value {
    let mut flags: Vec<(String, Value)> = match serde_json::to_value(args) {
        Ok(Value::Object(map)) => map.into_iter().collect(),
        _ => unreachable!("a struct is an object"),
    };
    flags.sort_by(|a, b| a.0.cmp(&b.0));
    let total = |of: fn(&TurnRecord) -> u32| turns.iter().map(|t| u64::from(of(t))).sum::<u64>();
    let mut ttft: Vec<u64> = turns
        .iter()
        .map(|t| t.first_token.since(t.ready).0)
        .collect();
    let mean = |values: &[u64]| {
        let sum: u64 = values.iter().sum();
        round6(sum as f64 / values.len() as f64 / 1e9)
    };
    let (ttft_mean, first): (f64, Vec<u64>) = (
        mean(&ttft),
        turns
            .iter()
            .filter(|t| t.turn.0 == 0)
            .map(|t| t.first_token.since(t.ready).0)
            .collect(),
    );
    ttft.sort_unstable();
    let quantile =
        |q: f64| Time(ttft[((q * ttft.len() as f64) as usize).min(ttft.len() - 1)]).to_string();
    let later = || turns.iter().filter(|t| t.turn.0 > 0);
    let history: u64 = later()
        .map(|t| &trace.sessions[t.session.index()].turns[t.turn.index() - 1])
        .map(|previous| u64::from((previous.input + previous.output).0))
        .sum();
    let rate = |of: fn(&TurnRecord) -> u32| {
        let hit: u64 = later().map(|t| u64::from(of(t))).sum();
        (history > 0).then(|| round6(hit as f64 / history as f64))
    };
    let most = |of: fn(&StepRecord) -> u32| steps.iter().map(of).max();
    json!({
        "args": flags.into_iter().collect::<serde_json::Map<_, _>>(),
        "trace": args.trace.file_name().map(|name| name.to_string_lossy()),
        "versions": { "djinn": env!("CARGO_PKG_VERSION") },
        "sessions": trace.sessions.len(),
        "turns": turns.len(),
        "steps": steps.len(),
        "schedule_calls": summary.schedules,
        "virtual_makespan_s": turns.iter().map(|t| t.end).max().map(|end| end.to_string()),
        "prompt_tokens": total(|t| t.input.0),
        "output_tokens": total(|t| t.output.0),
        "cached_tokens": total(|t| t.hit_hbm.0),
        "ext_cached_tokens": total(|t| t.host_loads.hit.0),
        "loaded_tokens": total(|t| t.host_loads.tokens.0),
        "prefill_tokens_computed": summary.prefill_tokens,
        "history_tokens_resubmitted": history,
        "history_hit_rate_gpu": rate(|t| t.hit_hbm.0),
        "history_hit_rate_gpu_plus_host": rate(|t| (t.hit_hbm + t.host_loads.hit).0),
        "preemptions": total(|t| t.preemptions),
        "turns_preempted": turns.iter().filter(|t| t.preemptions > 0).count(),
        "ttft_s": {
            "mean": ttft_mean,
            "p50": quantile(0.5),
            "p99": quantile(0.99),
            "max": ttft.last().map(|&ns| Time(ns).to_string()),
        },
        "ttft_first_turn_mean_s": mean(&first),
        "max_running": most(|s| s.running),
        "max_waiting": most(|s| s.waiting),
        "min_free_blocks": steps.iter().map(|s| s.free).min(),
        "offload": summary.offload.map(|offload| offload_json(args, &offload)),
        "sha256_turns_csv": sha256_hex(turns_csv.as_bytes()),
        "sha256_steps_csv": sha256_hex(steps_csv.as_bytes()),
    })
}

fn offload_json(args: &OracleArgs, offload: &OffloadSummary) -> Value {
    let [d2h, h2d] = Direction::LINK.map(Direction::index);
    let bytes = |direction: usize| offload.blocks[direction] * args.block_bytes();
    let seconds = |span: Nanos| Time(span.0).to_string();
    json!({
        "host_chunks": offload.capacity,
        "host_chunks_in_use_at_end": offload.held,
        "load_jobs": offload.jobs[h2d],
        "load_bytes": bytes(h2d),
        "load_busy_s": seconds(offload.busy[h2d]),
        "store_jobs": offload.jobs[d2h],
        "store_bytes": bytes(d2h),
        "store_busy_s": seconds(offload.busy[d2h]),
        "flush_waits": offload.flush_waits,
        "flush_wait_s": seconds(offload.flush_wait),
    })
}

/// To six decimals, from the exact value, as Python's `round` does: a product with 10^6 would be rounded itself.
fn round6(value: f64) -> f64 {
    let text = format!("{value:.6}");
    text.parse().expect("a number reads back")
}

/// JSON with an indent of one space, as the reference harness writes it.
fn pretty(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).expect("a value is JSON");
    bytes.push(b'\n');
    String::from_utf8(bytes).expect("JSON is UTF-8")
}
