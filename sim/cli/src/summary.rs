//! A run on one screen.

mod latency;

use crate::error::CliError;
use crate::format::{bytes, count, percent, plural, rate, span};
use results::folder::{DECISIONS, DIGEST_SHORT, OPS, RunFolder, SAMPLES};
use results::manifest::Manifest;
use results::metrics::RunMetrics;
use results::rows::SampleRow;
use std::fmt::Write as _;

/// The summary of a run that is on the disk.
///
/// # Errors
/// If a row is damaged.
pub fn of(folder: &RunFolder) -> Result<String, CliError> {
    let (manifest, metrics) = (folder.manifest(), folder.metrics()?);
    let mut text = identity(manifest);
    text += &cautions(manifest);
    text += &latency::latencies(&metrics);
    text += &latency::breakdown(&metrics);
    text += &traffic(&metrics);
    text += &memory(manifest, &metrics, peaks(folder)?.as_ref());
    text += &throughput(manifest, &metrics);
    let optional = [OPS, SAMPLES, DECISIONS];
    let kept = optional.into_iter().filter(|file| folder.has(file));
    let kept = kept.fold(String::new(), |list, file| list + ", " + file);
    let digest = folder.digest()?;
    let short = &digest[..DIGEST_SHORT];
    let _ = writeln!(
        text,
        "\ndigest {short} over spec, turns.csv, sessions.csv{kept}"
    );
    Ok(text)
}

/// A line of names and values.
fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:<12} {value}");
}

fn identity(manifest: &Manifest) -> String {
    let Manifest {
        counts,
        model,
        hardware,
        device,
        trace,
        ..
    } = manifest;
    let params: Vec<String> = manifest
        .policy
        .params
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let params = if params.is_empty() {
        String::new()
    } else {
        format!("[{}]", params.join(","))
    };
    let mut text = format!(
        "run {}: {}{params}\n\n",
        manifest.run_id, manifest.policy.name
    );
    let sessions = format!(
        "{}, {}",
        plural(counts.sessions, "session"),
        plural(counts.turns, "turn")
    );
    let hash: String = trace.sha256.chars().take(DIGEST_SHORT).collect();
    line(
        &mut text,
        "workload",
        &format!("{}: {sessions}; sha256 {hash}", trace.source),
    );
    let kv = bytes(model.kv_token_bytes);
    line(
        &mut text,
        "model",
        &format!("{}, {kv} of KV per token", model.name),
    );
    let gpu = if device.name.is_empty() {
        String::new()
    } else {
        format!(" ({})", device.name)
    };
    let run_on = format!("{}{gpu}", device.kind);
    line(
        &mut text,
        "hardware",
        &format!(
            "{}, {}; device {run_on}",
            hardware.name, hardware.provenance
        ),
    );
    line(&mut text, "policy from", &manifest.policy.provenance);
    let commit: String = manifest
        .commit
        .iter()
        .flat_map(|commit| {
            let (hash, changed) = commit.split_once('-').unwrap_or((commit, ""));
            let mark = if changed.is_empty() { "" } else { "-" };
            hash.chars()
                .take(12)
                .chain(mark.chars())
                .chain(changed.chars())
        })
        .collect();
    let commit = if commit.is_empty() {
        commit
    } else {
        format!(", commit {commit}")
    };
    line(
        &mut text,
        "seed",
        &format!("{}; djinn {}{commit}", manifest.seed, manifest.version),
    );
    text
}

/// What to know before the numbers: warnings, and what was cut off.
fn cautions(manifest: &Manifest) -> String {
    let mut cautions = manifest.warnings.clone();
    let counts = &manifest.counts;
    if counts.sessions_cut + counts.sessions_skipped > 0 {
        cautions.push(format!(
            "too long for the model or for HBM: {} cut short ({} lost), {} left out",
            plural(counts.sessions_cut, "session"),
            plural(counts.turns_cut, "turn"),
            plural(counts.sessions_skipped, "session"),
        ));
    }
    if manifest.partial {
        cautions.push("the run was cut short: its rows are those up to then".to_owned());
    }
    let mut lines = String::new();
    for caution in &cautions {
        let _ = writeln!(lines, "warning: {caution}");
    }
    if lines.is_empty() {
        lines
    } else {
        format!("\n{lines}")
    }
}

fn traffic(m: &RunMetrics) -> String {
    let mut text = "\n  KV\n".to_owned();
    let (swaps, restores) = (plural(m.swaps, "swap-out"), plural(m.restores, "restore"));
    line(
        &mut text,
        "moved",
        &format!(
            "{swaps}, {} D2H; {restores}, {} H2D",
            bytes(m.d2h_bytes),
            bytes(m.h2d_bytes)
        ),
    );
    let prefetches = m.prefetch_in_time + m.prefetch_late + m.prefetch_wasted;
    let outcomes = format!(
        "{} in time, {} late, {} wasted",
        count(m.prefetch_in_time),
        count(m.prefetch_late),
        count(m.prefetch_wasted)
    );
    line(
        &mut text,
        "prefetches",
        &if prefetches > 0 {
            outcomes
        } else {
            "none".to_owned()
        },
    );
    let hits = m
        .hit_ratio
        .map_or_else(|| "-".to_owned(), |ratio| percent(ratio, 1.0));
    line(
        &mut text,
        "prompts",
        &format!(
            "{} tokens, {hits} found in HBM ({} of them restored); {} recomputed",
            count(m.input_tokens),
            count(m.restored_tokens),
            count(m.recomputed_tokens)
        ),
    );
    line(&mut text, "preemptions", &count(m.preemptions));
    text
}

/// Largest levels that were sampled.
#[derive(Default)]
struct Peaks {
    hbm: u32,
    host: u32,
    queued: u32,
}

fn peaks(folder: &RunFolder) -> Result<Option<Peaks>, CliError> {
    if !folder.has(SAMPLES) {
        return Ok(None);
    }
    let mut peaks = Peaks::default();
    for row in folder.samples()? {
        let SampleRow {
            hbm_running_blocks,
            hbm_idle_blocks,
            host_used_blocks,
            queued,
            ..
        } = row?;
        peaks.hbm = peaks.hbm.max(hbm_running_blocks + hbm_idle_blocks);
        peaks.host = peaks.host.max(host_used_blocks);
        peaks.queued = peaks.queued.max(queued);
    }
    Ok(Some(peaks))
}

fn memory(manifest: &Manifest, m: &RunMetrics, peaks: Option<&Peaks>) -> String {
    let block = manifest.model.kv_token_bytes * u64::from(manifest.spec.memory.block_tokens);
    let counts = &manifest.counts;
    let tier = |blocks: u64| format!("{} ({} blocks)", bytes(blocks * block), count(blocks));
    let peak = |blocks: fn(&Peaks) -> u32| {
        let text = |peaks| {
            format!(
                ", at most {} in use when sampled",
                bytes(u64::from(blocks(peaks)) * block)
            )
        };
        peaks.map(text).unwrap_or_default()
    };
    let mut text = "\n  memory for KV\n".to_owned();
    line(
        &mut text,
        "HBM",
        &format!("{}{}", tier(counts.hbm_blocks), peak(|peaks| peaks.hbm)),
    );
    line(
        &mut text,
        "host",
        &format!("{}{}", tier(counts.host_blocks), peak(|peaks| peaks.host)),
    );
    if counts.disk_blocks > 0 {
        let moved = format!(
            "{}, {} written and {} read",
            tier(counts.disk_blocks),
            bytes(counts.disk_written_blocks * block),
            bytes(counts.disk_read_blocks * block)
        );
        line(&mut text, "disk", &moved);
    }
    // Byte-milliseconds over the milliseconds of the whole run.
    let whole_ms = m.duration_ns as f64 / 1e6 + manifest.spec.measure.warmup_s * 1e3;
    let held = if whole_ms > 0.0 {
        m.idle_byte_ms as f64 / whole_ms
    } else {
        0.0
    };
    let share = percent(held, (counts.hbm_blocks * block) as f64);
    line(
        &mut text,
        "idle in HBM",
        &format!("{} on average ({share})", bytes(held as u64)),
    );
    text
}

fn throughput(manifest: &Manifest, m: &RunMetrics) -> String {
    let mut text = "\n  throughput\n".to_owned();
    let sessions = plural(m.finished, "session");
    line(
        &mut text,
        "finished",
        &format!(
            "{sessions}, {} failed, in {}",
            count(m.failed),
            span(m.duration_ns)
        ),
    );
    line(
        &mut text,
        "served",
        &format!(
            "{} turns/s, {} output tokens/s",
            rate(m.turns_per_s),
            rate(m.output_tokens_per_s)
        ),
    );
    let slo = span((manifest.spec.measure.slo_wakeup_ms * 1e6) as u64);
    let within = percent(m.slo_turns as f64, m.turns as f64);
    line(
        &mut text,
        "goodput",
        &format!(
            "{} turns/s: {within} of turns had their first token within {slo}",
            rate(m.goodput_turns_per_s)
        ),
    );
    let backlog = format!(
        "{} turns mid-run, {} at the end",
        rate(m.backlog_mid),
        rate(m.backlog_end)
    );
    let verdict = match m.stable {
        Some(true) => format!("stable: backlog {backlog}"),
        Some(false) => format!("NOT STABLE, the load exceeds the service rate: backlog {backlog}"),
        None => "cannot be told (too few arrivals, or all at once)".to_owned(),
    };
    line(&mut text, "stability", &verdict);
    text
}
