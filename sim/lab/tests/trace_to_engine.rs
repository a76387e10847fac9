//! Every way in which a trace says when a turn comes and what it keeps, honoured by the engine: trace lines in, timelines
//! out, summed by hand.
//!
//! A step takes 10 ms and 1 ms per prefill token, a block has 16 tokens, and there is memory for everything. Alone, a first
//! turn of 32 tokens that generates one lasts 10 + 32 = 42 ms and leaves two full blocks; a second prompt of 49 hits their
//! 32 tokens, computes 17, and lasts 10 + 17 = 27 ms.

use devices::{LaneCost, LinkCost, SimDevice, StepCost};
use engine::record::{Recorder, SessionRecord, TurnRecord};
use engine::{
    Batching, Driver, EndSignal, EngineConfig, Faults, HintConfig, HintKind, HintNoise,
    LedgerConfig,
};
use model::{Bytes, Direction, Nanos, PrefillEstimate, Tokens, Workload};
use std::io::Cursor;
use std::num::NonZeroU64;
use trace::format::Reader;
use trace::generate::Generator;
use trace::import::{self, Collected, ImportOptions};
use trace::workload::{Timing, TraceWorkload, WorkloadOptions};

const MS: u64 = 1_000_000;

/// What a run left behind.
#[derive(Default)]
struct Log {
    turns: Vec<TurnRecord>,
    sessions: Vec<SessionRecord>,
}

impl Recorder for Log {
    fn turn(&mut self, turn: &TurnRecord) {
        self.turns.push(turn.clone());
    }
    fn session(&mut self, session: &SessionRecord) {
        self.sessions.push(session.clone());
    }
}

impl Log {
    fn turn(&self, name: &str, turn: u32) -> &TurnRecord {
        let session = self.sessions.iter().find(|s| s.name == name);
        let id = session.unwrap_or_else(|| panic!("no {name}")).session;
        let found = self
            .turns
            .iter()
            .find(|t| t.session == id && t.turn.0 == turn);
        found.unwrap_or_else(|| panic!("no turn {turn} of {name}"))
    }

    /// When a turn was ready and when it ended, in milliseconds.
    fn times(&self, name: &str, turn: u32) -> (u64, u64) {
        let turn = self.turn(name, turn);
        assert_eq!((turn.ready.0 % MS, turn.end.0 % MS), (0, 0), "{turn:?}");
        (turn.ready.0 / MS, turn.end.0 / MS)
    }
}

/// Runs a workload under `policy`, with all checks on.
fn run_under(policy: &str, mut workload: impl Workload) -> Log {
    let lane = LaneCost {
        copy_ns: 0,
        block_ns: 0,
        bytes_per_s: NonZeroU64::new(1_000_000_000).unwrap(),
        bytes_per_s_shared: NonZeroU64::new(1_000_000_000).unwrap(),
        slowdown_ppm: 0,
        beside_steps_ppm: 0,
    };
    let config = EngineConfig {
        batching: Batching {
            ahead: false,
            max_batched_tokens: 2048,
            max_seqs: 16,
            ..Batching::vllm()
        },
        memory: LedgerConfig {
            block_tokens: 16,
            hbm_blocks: 1000,
            host_blocks: 0,
            disk_blocks: 0,
            inclusive: false,
            caching: true,
            leak_on_swap_out: false,
            first_place: None,
        },
        block_bytes: Bytes(MS),
        chunk_blocks: 1,
        link: Direction::LINK.map(|_| model::CopyEstimate {
            queued: Bytes::ZERO,
            bytes_per_s: 1_000_000_000,
            fixed: Nanos::ZERO,
        }),
        disk: Default::default(),
        prefill: PrefillEstimate {
            token_ps: 1_000_000_000,
            pair_ps: 0,
        },
        hints: HintConfig {
            kind: HintKind::Oracle,
            noise: HintNoise::default(),
            seed: 1,
        },
        end: EndSignal::Told,
        stepwise: false,
        check: true,
        preload: false,
        sample_every: None,
        faults: Faults::default(),
    };
    let steps = StepCost::linear(10_000_000_000, 1_000_000_000, 0, 0);
    let mut device = SimDevice::new(steps, &LinkCost::new(lane, lane), 0);
    let mut log = Log::default();
    let (entry, _) = policy::find(policy).unwrap();
    let policy = policy::build(policy, None).unwrap();
    let driver = Driver::new(
        config,
        &mut device,
        policy,
        entry.listens,
        &mut workload,
        &mut log,
        None,
    );
    driver.run().unwrap();
    log
}

fn run(workload: impl Workload) -> Log {
    run_under("keep-always", workload)
}

/// The workload of a trace with these session lines.
fn trace(sessions: &str, options: &WorkloadOptions) -> TraceWorkload {
    trace_with("", sessions, options)
}

/// The same with more in the meta line.
fn trace_with(meta: &str, sessions: &str, options: &WorkloadOptions) -> TraceWorkload {
    let gaps = if meta.contains("gap_semantics") {
        ""
    } else {
        r#""gap_semantics":"end_of_dependency_to_dispatch","#
    };
    let head = format!(
        r#"{{"v":1,"type":"meta",{gaps}{meta}"source":"test","origin":"inline","license":"CC0-1.0"}}"#
    );
    let text = format!("{head}\n{sessions}");
    let reader = Reader::new("t.jsonl", Cursor::new(text.into_bytes())).unwrap();
    TraceWorkload::new(reader, options, 1, 16).unwrap()
}

fn timing(timing: Timing) -> WorkloadOptions {
    WorkloadOptions {
        timing,
        ..WorkloadOptions::default()
    }
}

/// Recorded: a call of 20 ms at 0, the next at 90 ms; the client waited for 70 ms of them.
const RECORDED: &str = r#"{"v":1,"type":"session","sid":"a","start_ms":0,"calls":[
{"id":0,"at_ms":0,"gap_ms":0,"gap_kind":"none","in":32,"out":1,"obs":{"api_ms":20}},
{"id":1,"at_ms":90,"gap_ms":70,"gap_kind":"tool","in":49,"out":1,"obs":{"api_ms":5}}]}"#;

/// A session that shares the first step: 10 + 32 + 64 = 106 ms for both.
const BESIDE: &str = r#"{"v":1,"type":"session","sid":"b","start_ms":0,"calls":[{"id":0,"gap_ms":0,"gap_kind":"none","in":64,"out":1,"at_ms":0,"obs":{"api_ms":1}}]}"#;

fn recorded(more: &str) -> String {
    format!("{}\n{more}", RECORDED.replace('\n', ""))
}

#[test]
fn think_only_waits_from_the_end_of_the_turn_as_it_was_served() {
    let options = timing(Timing::ThinkOnly);
    let log = run(trace(&recorded(""), &options));
    assert_eq!(log.times("a", 0), (0, 42));
    assert_eq!(log.times("a", 1), (42 + 70, 112 + 27));
    // A slower server moves what follows: the loop is closed.
    let log = run(trace(&recorded(BESIDE), &options));
    assert_eq!(log.times("a", 0), (0, 106));
    assert_eq!(log.times("a", 1), (106 + 70, 176 + 27));
}

#[test]
fn original_timing_comes_when_recorded_or_when_the_turn_before_is_over() {
    let options = timing(Timing::Original);
    let log = run(trace(&recorded(""), &options));
    assert_eq!(log.times("a", 1), (90, 90 + 27));
    // The server is behind: 106 is later than 90.
    let log = run(trace(&recorded(BESIDE), &options));
    assert_eq!(log.times("a", 1), (106, 106 + 27));
}

#[test]
fn api_scaled_timing_moves_a_turn_by_what_the_recorded_call_takes_longer() {
    let scaled = |api_scale| WorkloadOptions {
        api_scale: Some(api_scale),
        ..timing(Timing::ApiScaled)
    };
    // 3 x 20 + 70 = 130; at half the time 10 + 70 = 80; as recorded 90.
    for (scale, ready) in [(3.0, 130), (0.5, 80), (1.0, 90)] {
        let log = run(trace(&recorded(""), &scaled(scale)));
        assert_eq!(log.times("a", 1), (ready, ready + 27), "{scale}");
    }
}

#[test]
fn a_gap_cap_shortens_the_wait_under_every_timing() {
    // Of 70 ms, 30 are left: after 42 as served, after 20 as recorded, after 3 x 20 as scaled.
    let cases = [
        (Timing::ThinkOnly, None, 42 + 30),
        (Timing::Original, None, 20 + 30),
        (Timing::ApiScaled, Some(3.0), 60 + 30),
    ];
    for (kind, api_scale, ready) in cases {
        let options = WorkloadOptions {
            gap_cap_s: Some(0.03),
            api_scale,
            ..timing(kind)
        };
        let workload = trace(&recorded(""), &options);
        assert_eq!(workload.report().gaps_capped, 1);
        assert_eq!(run(workload).times("a", 1), (ready, ready + 27), "{kind:?}");
    }
}

#[test]
fn gaps_from_start_to_start_lose_the_recorded_service_time() {
    let meta = r#""gap_semantics":"start_to_start","#;
    let text = recorded("").replace(r#""gap_ms":70"#, r#""gap_ms":90"#);
    let log = run(trace_with(meta, &text, &timing(Timing::ThinkOnly)));
    // 90 - 20 after the end at 42.
    assert_eq!(log.times("a", 1).0, 112);
}

#[test]
fn a_prompt_that_keeps_less_hits_less() {
    let text = recorded("").replace(r#""in":49"#, r#""in":49,"keep":20"#);
    let log = run(trace(&text, &timing(Timing::ThinkOnly)));
    // One full block lies within 20 tokens; 33 are computed, of which 16..20 had KV before.
    let turn = log.turn("a", 1);
    assert_eq!((turn.hit, turn.recomputed), (Tokens(16), Tokens(4)));
    assert_eq!(log.times("a", 1), (112, 112 + 10 + 33));
}

#[test]
fn stripped_reasoning_is_lost_with_the_answer_behind_it() {
    // 32 + 33 of which 30 are reasoning; the next prompt of 60 is shorter than 65, so the reasoning is gone, and what is kept are
    // the 32 of the prompt.
    let text = r#"{"v":1,"type":"session","sid":"a","start_ms":0,"calls":[{"id":0,"gap_ms":0,"gap_kind":"none","in":32,"out":33,"reason_out":30},{"id":1,"gap_ms":70,"gap_kind":"tool","in":60,"out":1}]}"#;
    let log = run(trace(text, &timing(Timing::ThinkOnly)));
    // 42 and 32 decode steps of 10 ms: 362.
    assert_eq!(log.times("a", 0), (0, 362));
    let turn = log.turn("a", 1);
    assert_eq!((turn.hit, turn.recomputed), (Tokens(32), Tokens(0)));
    assert_eq!(log.times("a", 1), (432, 432 + 10 + 28));
    // Without reasoning, 48 of the 60 are there.
    let plain = text.replace(r#","reason_out":30"#, "");
    let log = run(trace(&plain, &timing(Timing::ThinkOnly)));
    assert_eq!(log.turn("a", 1).hit, Tokens(48));
}

#[test]
fn sessions_share_the_parts_of_the_prefix_that_both_name() {
    let session = |sid: &str, start: u32, system: &str| {
        format!(
            r#"{{"v":1,"type":"session","sid":"{sid}","start_ms":{start},"shared_prefix":[{{"id":"tools","tokens":40}},{{"id":"{system}","tokens":24}}],"calls":[{{"id":0,"gap_ms":0,"gap_kind":"none","in":80,"out":1}}]}}"#
        )
    };
    let text = [
        session("a", 0, "v1"),
        session("b", 200, "v2"),
        session("c", 400, "v2"),
    ];
    let log = run(trace(&text.join("\n"), &timing(Timing::ThinkOnly)));
    // Tools alone fill two blocks, the third ends in the system prompt; both together fill four.
    for (sid, start, hit) in [("a", 0, 0), ("b", 200, 32), ("c", 400, 64)] {
        assert_eq!(log.turn(sid, 0).hit, Tokens(hit), "{sid}");
        let end = start + 10 + 80 - u64::from(hit);
        assert_eq!(log.times(sid, 0), (start, end), "{sid}");
    }
}

#[test]
fn equal_block_ids_are_hits_across_sessions() {
    let meta = r#""block_size":32,"hash_scope":"global","#;
    let session = |sid: &str, start: u32, id: u32| {
        format!(
            r#"{{"v":1,"type":"session","sid":"{sid}","start_ms":{start},"calls":[{{"id":0,"gap_ms":0,"gap_kind":"none","in":80,"out":1,"blocks":{{"keep":0,"add":[[7,1],[{id},1]]}}}}]}}"#
        )
    };
    let text = [
        session("a", 0, 8),
        session("b", 200, 9),
        session("c", 400, 9),
    ];
    let log = run(trace_with(
        meta,
        &text.join("\n"),
        &timing(Timing::ThinkOnly),
    ));
    for (sid, start, hit) in [("a", 0, 0), ("b", 200, 32), ("c", 400, 64)] {
        assert_eq!(log.turn(sid, 0).hit, Tokens(hit), "{sid}");
        assert_eq!(log.times(sid, 0).1, start + 90 - u64::from(hit), "{sid}");
    }
}

/// A parent whose second call waits for a sub-agent; recorded, the sub-agent ran from 25 to 65 ms.
const FAMILY: &str = r#"{"v":1,"type":"session","sid":"a","start_ms":0,"calls":[{"id":0,"at_ms":0,"gap_ms":0,"gap_kind":"none","in":32,"out":1,"obs":{"api_ms":20}},{"id":1,"at_ms":90,"after":[0,"a/x#0"],"gap_from":0,"gap_ms":70,"gap_kind":"tool","in":49,"out":1,"obs":{"api_ms":5}}]}
{"v":1,"type":"session","sid":"a/x","parent":{"sid":"a","call":0,"offset_ms":5,"join":1},"calls":[{"id":0,"at_ms":0,"gap_ms":0,"gap_kind":"none","in":64,"out":1,"obs":{"api_ms":40}}]}"#;

#[test]
fn a_joined_sub_agent_is_waited_for_and_then_what_was_left_of_the_gap() {
    let log = run(trace(FAMILY, &timing(Timing::ThinkOnly)));
    // The sub-agent begins 5 ms after 42 and takes 10 + 64: to 121. Of the recorded gap, 90 - 65 = 25 ms came after its end.
    assert_eq!(log.times("a/x", 0), (47, 121));
    assert_eq!(log.times("a", 1), (121 + 25, 146 + 27));
    // Without the join, nobody waits: 42 + 70.
    let detached = FAMILY
        .replace(r#","join":1"#, "")
        .replace(r#""after":[0,"a/x#0"],"gap_from":0,"#, "");
    let log = run(trace(&detached, &timing(Timing::ThinkOnly)));
    assert_eq!(log.times("a", 1).0, 112);
    // Open loop: the sub-agent at 25, but not before its spawner is over; the join at 90, but not before the sub-agent is.
    let log = run(trace(FAMILY, &timing(Timing::Original)));
    assert_eq!(log.times("a/x", 0), (42, 116));
    assert_eq!(log.times("a", 1).0, 116);
}

#[test]
fn parallel_tools_of_a_generated_agent_are_waited_for_once() {
    let text = "agents = 1\narrivals = { closed = { ramp_s = 0 } }\nturns = 2\nfirst_prompt = 32\noutput = 1\nappend_tool = 16\n\
                tools = [{ class = \"t\", seconds = 0.07 }]\nparallel = [0, 0, 1]\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("three.toml");
    std::fs::write(&path, text).unwrap();
    let fleet = Generator::find(path.to_str().unwrap(), toml::Table::new()).unwrap();
    let session = fleet.sessions(1).unwrap().next().unwrap().unwrap();
    assert_eq!(session.calls[0].tools.as_ref().unwrap().len(), 3);
    let log = run(fleet.workload(1, WorkloadOptions::default()).unwrap());
    // Three of 70 ms each, side by side.
    let start = log.turn("agent-0", 0).ready.0 / MS;
    assert_eq!(log.times("agent-0", 1).0, start + 42 + 70);
}

#[test]
fn parallel_tools_of_a_log_are_waited_for_until_the_last_result() {
    // Two tools from 09:00:01 on, with results after 3 and 5 s: their union is 5 s, their sum 8 s.
    let line = |kind: &str, id: u32, parent: &str, time: &str, message: &str| {
        format!(
            r#"{{"type":"{kind}","sessionId":"s","uuid":"u{id}","parentUuid":{parent},"isSidechain":false,"timestamp":"2026-02-07T09:00:{time}Z","message":{message}}}"#
        )
    };
    let answer = |id: &str, content: &str| {
        format!(
            r#"{{"id":"{id}","model":"m","role":"assistant","content":[{content}],"usage":{{"input_tokens":32,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}}"#
        )
    };
    let tool =
        |id: &str| format!(r#"{{"type":"tool_use","id":"{id}","name":"Read","input":{{}}}}"#);
    let result = |id: &str| {
        format!(
            r#"{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"{id}","content":"x"}}]}}"#
        )
    };
    let lines = [
        line(
            "user",
            1,
            "null",
            "00.000",
            r#"{"role":"user","content":"go"}"#,
        ),
        line(
            "assistant",
            2,
            "\"u1\"",
            "01.000",
            &answer("m1", &format!("{},{}", tool("t1"), tool("t2"))),
        ),
        line("user", 3, "\"u2\"", "04.000", &result("t1")),
        line("user", 4, "\"u3\"", "06.000", &result("t2")),
        line(
            "assistant",
            5,
            "\"u4\"",
            "07.000",
            &answer("m2", r#"{"type":"text","text":"ok"}"#),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.jsonl");
    std::fs::write(&path, lines.join("\n")).unwrap();
    let mut collected = Collected::default();
    let format = import::detect(&path).unwrap().format;
    import::import(format, &path, &ImportOptions::default(), &mut collected).unwrap();
    let tools = collected.sessions[0].calls[0].tools.as_ref().unwrap();
    let lasted: Vec<u64> = tools
        .iter()
        .map(|tool| tool.dur_ms.nanos().0 / MS)
        .collect();
    assert_eq!(lasted, [3_000, 5_000]);
    let text = serde_json::to_string(&collected.sessions[0]).unwrap();
    let log = run(trace(&text, &timing(Timing::ThinkOnly)));
    // The log's count of output tokens is too small, so the first turn decodes some more; what follows waits for 5 s.
    assert_eq!(log.times("s", 1).0, log.times("s", 0).1 + 5_000);
}
