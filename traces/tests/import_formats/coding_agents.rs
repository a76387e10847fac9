//! Logs of agents: calls, tools and sub-agents by their times.

use super::{has, imported, kept, ms, shape};
use serde_json::{Value, json};
use trace::format::Session;
use trace::import::Warning;

fn value(session: &Session) -> Value {
    serde_json::to_value(session).unwrap()
}

#[test]
fn tracelab_rounds_are_put_in_order_and_wait_from_answer_to_input() {
    let (collected, report) = imported("tracelab.jsonl");
    // The first round ends at 5 s, the second's last input is at 12 s: a result and a message.
    assert_eq!(shape(&collected), ["t1: 900+70, 1300+80 after 7000(mixed)"]);
    let session = value(&collected.sessions[0]);
    // 1,000 tokens were cached, but only 900 + 70 existed.
    assert_eq!(kept(&collected.sessions[0]), ["-", "970"]);
    has(&report, &Warning::KeepClipped { calls: 1 });
    // 2026-03-01T10:00:00Z.
    assert_eq!(session["start_ms"], 1_772_359_200_000_u64);
    let first = &session["calls"][0];
    // Emitted half a second before the round ended; the one without a duration stays in `x`.
    assert_eq!(first["tools"][0]["start_ms"], -500);
    assert_eq!(first["tools"][0]["cls"], "file_edit");
    assert_eq!(first["tools"][0]["status"], "error");
    assert_eq!(first["tools"].as_array().unwrap().len(), 1);
    assert_eq!(first["x"]["tools"][0]["tool_name"], "shell");
    assert_eq!(first["x"]["round_id"], "a");
    assert_eq!(first["x"]["timing_events"].as_array().unwrap().len(), 3);
    assert_eq!(session["calls"][1]["obs"], json!({"api_ms": 3_000}));
    assert_eq!(session["calls"][1]["at_ms"], 12_000);
    assert_eq!(session["calls"][1]["reason_out"], 20);
}

#[test]
fn blocks_of_one_claude_message_are_one_call_and_its_sub_agent_is_joined() {
    let (collected, report) = imported("claude-code.jsonl");
    // Main: 10 + 990 + 4,000; after 3 s the result comes at 9 s; then a person answers 12 s at 132 s.
    // Sub-agent: the text of 76 characters has 20 tokens where 2 were logged.
    let expected = [
        "s1: 5000+40, 5665+9 after 6000(tool), 5708+4 after 120000(human)",
        "s1/side-1: 700+30, 720+20 after 250(tool)",
    ];
    assert_eq!(shape(&collected), expected);
    let [main, side] = &collected.sessions[..] else {
        panic!("two sessions")
    };
    // 5,600 were read of a cache, but call 0 had 5,000 + 40; the last prompt found its cache expired.
    assert_eq!(kept(main), ["-", "5040", "0"]);
    assert_eq!(kept(side), ["-", "700"]);
    // It began at 3.5 s, half a second after the call that spawned it.
    assert_eq!(
        value(side)["parent"],
        json!({"sid": "s1", "call": 0, "offset_ms": 500, "join": 1})
    );
    assert_eq!(value(main)["calls"][1]["after"], json!([0, "s1/side-1#1"]));
    assert_eq!(value(main)["calls"][1]["gap_from"], 0);
    let tool = value(main)["calls"][0]["tools"][0].clone();
    let expected = json!({"name": "Task", "cls": "subagent", "start_ms": 0, "dur_ms": 6_000, "status": "ok",
        "x": {"result_chars": 10}});
    assert_eq!(tool, expected);
    assert_eq!(value(side)["calls"][0]["tools"][0]["cls"], "shell:search");
    assert_eq!(value(side)["calls"][1]["x"], json!({"output_tokens": 2}));
    assert_eq!(value(main)["x"], json!({"cwd": "/repo", "version": "2.0"}));
    assert_eq!(
        value(main)["calls"][0]["x"],
        json!({"requestId": "q1", "service_tier": "standard"})
    );
    assert!(
        !value(main).to_string().contains("look into it"),
        "texts are not kept"
    );
    has(&report, &Warning::EstimatedOutput { calls: 1 });
    has(&report, &Warning::SubagentsByTime { subagents: 1 });
    // The summary and the line that was there twice.
    has(&report, &Warning::IgnoredEntries { entries: 2 });
}

#[test]
fn a_swe_agent_run_shares_its_totals_out_by_length() {
    let (collected, report) = imported("swe-agent.traj");
    let session = &collected.sessions[0];
    assert_eq!(session.sid, "swe-agent");
    // Prompts: 13 + 17 characters; 28 of the answer and 9 seen more; 19 and 9 more: 30, 67, 95 of 192, of 900 tokens.
    // Answers have 28, 19 and 14 of 61 characters, of 61 tokens.
    let expected = "swe-agent: 140+28, 314+19 after 250(tool), 445+14 after 1500(tool)";
    assert_eq!(shape(&collected), [expected]);
    let tools = value(session)["calls"][1]["tools"].clone();
    let expected = json!([{"name": "python", "cls": "shell:python", "start_ms": 0, "dur_ms": 1_500,
        "x": {"result_chars": 9}}]);
    assert_eq!(tools, expected);
    assert_eq!(
        session.x.as_ref().unwrap()["info"]["exit_status"],
        "submitted"
    );
    has(&report, &Warning::ApportionedTokens { calls: 3 });
    has(&report, &Warning::IgnoredEntries { entries: 1 });
}

#[test]
fn a_mini_swe_agent_run_has_the_usage_and_times_of_its_messages() {
    let (collected, report) = imported("swe-agent.mini.traj.json");
    // The command ran from 3 to 3.75 s. The last answer has neither usage nor time: 13, 7, 2, 4, 18 and 2 characters
    // are 46, which is 12 tokens; its own 13 are 4.
    let expected = "swe-agent: 210+14, 260+22 after 750(tool), 12+4 after 0(unknown)";
    assert_eq!(shape(&collected), [expected]);
    let calls = &collected.sessions[0].calls;
    assert_eq!((calls[0].cached, calls[0].reasoning), (Some(128), Some(5)));
    // Asked at 0.5 s, answered at 3 s.
    assert_eq!(
        calls[0].observed.as_ref().unwrap().api_ms.map(ms),
        Some(2_500.0)
    );
    assert_eq!(calls[1].at_ms.map(ms), Some(3_750.0));
    has(&report, &Warning::EstimatedOutput { calls: 1 });
    has(&report, &Warning::NoGaps { calls: 1 });
}

#[test]
fn spans_become_calls_tools_and_sub_agents() {
    let (collected, report) = imported("otel-genai.jsonl");
    // 2.1 to 3.8 s with tools; 4.8 to 9.25 s around the sub-agent; a second trace of the conversation at 70.25 s.
    let expected = [
        "conv-1: 500+40, 700+60 after 1700(tool), 900+80 after 4450(unknown), 1000+30 after 60000(human)",
        "conv-1/searcher-06: 300+20, 350+25 after 500(unknown)",
    ];
    assert_eq!(shape(&collected), expected);
    let [main, sub] = &collected.sessions[..] else {
        panic!("two sessions")
    };
    // The call before it ended at 4.8 s, its first call began at 5.1 s.
    assert_eq!(
        value(sub)["parent"],
        json!({"sid": "conv-1", "call": 1, "offset_ms": 300, "join": 2})
    );
    let calls = value(main)["calls"].clone();
    assert_eq!(calls[2]["after"], json!([1, "conv-1/searcher-06#1"]));
    assert_eq!(calls[0]["obs"], json!({"api_ms": 2_000, "ttft_ms": 750}));
    assert_eq!(
        (&calls[0]["cached"], &calls[0]["stop"]),
        (&json!(256), &json!("tool_calls"))
    );
    let x = json!({"gen_ai.operation.name": "chat", "server.address": "llm.example", "traceId": "aa", "spanId": "02"});
    assert_eq!(calls[0]["x"], x);
    let tools = calls[0]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 2);
    // Both began 0.1 s after the call; the wait is their union.
    assert_eq!(
        (&tools[0]["start_ms"], &tools[0]["dur_ms"]),
        (&json!(100), &json!(1_500))
    );
    assert_eq!(tools[0]["status"], "error");
    assert_eq!(tools[1]["cls"], "file_read");
    assert_eq!(value(main)["x"], json!({"service.name": "agents"}));
    // The embedding.
    has(&report, &Warning::IgnoredEntries { entries: 1 });
}
