//! From sessions to a workload and what came of it.

use model::{Nanos, Session, Workload};
use trace::TraceError;
use trace::format::{self, Meta, Millis, Nullable, Observed};

use super::{call, session, trace_with};
use trace::workload::{Timing, TooLong, TraceWorkload, WorkloadOptions, WorkloadReport};

pub fn open(
    meta: &Meta,
    sessions: &[format::Session],
    options: &WorkloadOptions,
) -> Result<TraceWorkload, TraceError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    trace_with(&path, meta, sessions);
    TraceWorkload::open(&path, options, 1, 16)
}

pub fn run(
    meta: &Meta,
    sessions: &[format::Session],
    options: &WorkloadOptions,
) -> (Vec<Session>, WorkloadReport) {
    let mut workload = open(meta, sessions, options).unwrap();
    let all = std::iter::from_fn(|| workload.next_session().unwrap()).collect();
    (all, workload.report().clone())
}

pub fn plain(
    sessions: &[format::Session],
    options: &WorkloadOptions,
) -> (Vec<Session>, WorkloadReport) {
    run(&Meta::default(), sessions, options)
}

pub fn starting(sid: &str, ms: u64) -> format::Session {
    let start_ms = Nullable::Value(Millis::from_millis(ms));
    format::Session {
        start_ms,
        ..session(sid, vec![call(0, 10, 2), call(1, 30, 4)])
    }
}

pub fn observed(api_ms: u64) -> Observed {
    Observed {
        api_ms: Some(Millis::from_millis(api_ms)),
        ..Observed::default()
    }
}

pub fn ms(span: u64) -> Nanos {
    Nanos::from_millis(span)
}

pub const DEFAULT: WorkloadOptions = WorkloadOptions {
    sessions: None,
    timing: Timing::ThinkOnly,
    max_context: None,
    too_long: TooLong::Error,
    gap_cap_s: None,
    rate: None,
    api_scale: None,
};
