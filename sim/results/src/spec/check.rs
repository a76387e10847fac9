//! What the values of a spec must be, beyond their types.

use super::error::Fault;
use super::sections::EndSignal;
use super::{RunSpec, Timing};

/// The first value that makes no sense, with what would.
pub(super) fn check(spec: &RunSpec) -> Result<(), Fault> {
    let checks = [names, engine, memory, workload, hints, measure];
    checks.into_iter().try_for_each(|check| check(spec))
}

fn names(spec: &RunSpec) -> Result<(), Fault> {
    not_empty("model", &spec.model)?;
    not_empty("hardware", &spec.hardware)?;
    not_empty("policy", &spec.policy)?;
    spec.faults
        .inject
        .iter()
        .try_for_each(|fault| not_empty("faults.inject", fault))
}

fn engine(spec: &RunSpec) -> Result<(), Fault> {
    let e = &spec.engine;
    count("engine.max_batched_tokens", e.max_batched_tokens)?;
    count("engine.max_seqs", e.max_seqs)?;
    let watermark_ok = (0.0..1.0).contains(&e.watermark);
    must(
        watermark_ok,
        "engine.watermark",
        "must be at least 0 and less than 1",
        e.watermark,
    )
}

fn memory(spec: &RunSpec) -> Result<(), Fault> {
    let m = &spec.memory;
    gib("memory.hbm_gib", m.hbm_gib, positive)?;
    gib("memory.host_gib", m.host_gib, not_negative)?;
    gib("memory.disk_gib", m.disk_gib, not_negative)?;
    let share_ok = m.utilisation > 0.0 && m.utilisation <= 1.0;
    must(
        share_ok,
        "memory.utilisation",
        "must be more than 0 and at most 1",
        m.utilisation,
    )?;
    if let Some(blocks) = m.hbm_blocks {
        count("memory.hbm_blocks", blocks)?;
    }
    one_of(
        "memory.hbm_blocks",
        m.hbm_blocks.is_some(),
        "memory.hbm_gib",
        m.hbm_gib.is_some(),
    )?;
    one_of(
        "memory.host_blocks",
        m.host_blocks.is_some(),
        "memory.host_gib",
        m.host_gib.is_some(),
    )?;
    count("memory.block_tokens", m.block_tokens)?;
    count("memory.chunk_mib", m.chunk_mib)?;
    count("memory.lane_depth", m.lane_depth)
}

fn workload(spec: &RunSpec) -> Result<(), Fault> {
    let w = &spec.workload;
    one_of(
        "workload.gen",
        w.generator.is_some(),
        "workload.trace",
        w.trace.is_some(),
    )?;
    match (&w.trace, &w.generator) {
        (None, None) => {
            let message = "there are no sessions: give `trace` (a file) or `gen` (a generator)";
            return Err(fault("workload", message.to_owned()));
        }
        (Some(path), _) => not_empty("workload.trace", path)?,
        (_, Some(name)) => not_empty("workload.gen", name)?,
    }
    if w.trace.is_some() && !w.params.is_empty() {
        let message = "parameters are for a generator (`gen`), and a trace has none";
        return Err(fault("workload.params", message.to_owned()));
    }
    if w.generator.is_some() && w.timing != Timing::ThinkOnly {
        let message = "a generator makes waits, not times; only `think-only` applies to it";
        return Err(fault("workload.timing", message.to_owned()));
    }
    if w.api_scale.is_some() && w.timing != Timing::ApiScaled {
        let message = "only `timing = \"api-scaled\"` scales recorded service times";
        return Err(fault("workload.api_scale", message.to_owned()));
    }
    if let Some(sessions) = w.sessions {
        count("workload.sessions", sessions)?;
    }
    if let Some(rate) = w.rate {
        positive("workload.rate", rate)?;
    }
    if let Some(cap) = w.gap_cap_s {
        not_negative("workload.gap_cap_s", cap)?;
    }
    w.max_context
        .map_or(Ok(()), |tokens| count("workload.max_context", tokens))
}

fn hints(spec: &RunSpec) -> Result<(), Fault> {
    let h = &spec.hints;
    positive("hints.noise.bias", h.noise.bias)?;
    not_negative("hints.noise.sigma", h.noise.sigma)?;
    let drop_ok = (0.0..=1.0).contains(&h.noise.drop);
    must(
        drop_ok,
        "hints.noise.drop",
        "must be from 0 to 1",
        h.noise.drop,
    )?;
    not_negative("hints.noise.delay_ms", h.noise.delay_ms)?;
    match (h.end, h.end_timeout_s) {
        (EndSignal::Timeout, None) => {
            let message =
                "`timeout` needs `end_timeout_s`, the idle time after which a session is over";
            Err(fault("hints.end", message.to_owned()))
        }
        (EndSignal::Told | EndSignal::Never, Some(_)) => {
            let message = "is used with `end = \"timeout\"` only";
            Err(fault("hints.end_timeout_s", message.to_owned()))
        }
        (_, Some(seconds)) => positive("hints.end_timeout_s", seconds),
        (_, None) => Ok(()),
    }
}

fn measure(spec: &RunSpec) -> Result<(), Fault> {
    not_negative("measure.warmup_s", spec.measure.warmup_s)?;
    if let Some(until) = spec.measure.until_s {
        must(
            until.is_finite() && until > spec.measure.warmup_s,
            "measure.until_s",
            "must be more than `warmup_s`",
            until,
        )?;
    }
    positive("measure.slo_wakeup_ms", spec.measure.slo_wakeup_ms)
}

fn fault(key: &str, message: String) -> Fault {
    Fault {
        key: key.to_owned(),
        message,
        help: None,
    }
}

fn must(holds: bool, key: &str, rule: &str, value: impl std::fmt::Display) -> Result<(), Fault> {
    if holds {
        Ok(())
    } else {
        Err(fault(key, format!("{rule}, but is {value}")))
    }
}

fn positive(key: &str, value: f64) -> Result<(), Fault> {
    must(
        value.is_finite() && value > 0.0,
        key,
        "must be more than 0",
        value,
    )
}

fn not_negative(key: &str, value: f64) -> Result<(), Fault> {
    must(
        value.is_finite() && value >= 0.0,
        key,
        "must be 0 or more",
        value,
    )
}

/// No machine has more \[GiB\]; blocks of as much are still counted.
const GIB_MOST: f64 = 1_048_576.0;

/// A size of memory, which `least` has a rule for as well; NaN is for that one.
fn gib(
    key: &str,
    value: Option<f64>,
    least: fn(&str, f64) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let Some(value) = value else {
        return Ok(());
    };
    let rule = "must be at most 1048576, which is a PiB";
    must(value.is_nan() || value <= GIB_MOST, key, rule, value)?;
    least(key, value)
}

fn count(key: &str, value: u32) -> Result<(), Fault> {
    must(value > 0, key, "must be at least 1", value)
}

fn not_empty(key: &str, value: &str) -> Result<(), Fault> {
    if value.trim().is_empty() {
        Err(fault(key, "must not be empty".to_owned()))
    } else {
        Ok(())
    }
}

fn one_of(key: &str, given: bool, other: &str, other_given: bool) -> Result<(), Fault> {
    if given && other_given {
        return Err(fault(
            key,
            format!("excludes `{other}`, which is given too; keep one of them"),
        ));
    }
    Ok(())
}
