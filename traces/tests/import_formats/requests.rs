//! Request traces: a row is a call.

use super::{has, imported, kept, shape};
use serde_json::{Value, json};
use trace::format::{GapSemantics, Session};
use trace::import::Warning;

fn value(session: &Session) -> Value {
    serde_json::to_value(session).unwrap()
}

#[test]
fn agentic_mooncake_sub_agents_are_spawned_joined_and_tools_given_to_their_issuer() {
    let (collected, report) = imported("agentic-mooncake.jsonl");
    // b waits 10 + 1,200; sub-2 waits 100; c waits 3.
    let expected = [
        "main: 1024+50, 1500+60 after 1210(tool), 700+5 after 3(unknown)",
        "sub: 512+40, 900+20 after 100(unknown)",
    ];
    assert_eq!(shape(&collected), expected);
    let [main, sub] = &collected.sessions[..] else {
        panic!("two sessions")
    };
    assert_eq!(
        value(sub)["parent"],
        json!({"sid": "main", "call": 0, "offset_ms": 7.5, "join": 1})
    );
    assert_eq!(value(main)["calls"][1]["after"], json!([0, "sub#1"]));
    assert_eq!(value(main)["calls"][2]["keep"], 0, "the prefix was reset");
    let tools = value(main)["calls"][0]["tools"].clone();
    let expected = json!([
        {"name": "shell", "cls": "shell", "start_ms": 0, "dur_ms": 1000, "status": "ok", "x": {"tool_call_id": "x"}},
        {"name": "web", "cls": "web", "start_ms": 200, "dur_ms": 1000, "status": "error"}]);
    assert_eq!(tools, expected);
    assert_eq!(
        value(main)["calls"][0]["x"],
        json!({"branches": ["sub-1"], "request_id": "a"})
    );
    has(&report, &Warning::NoServiceTimes);
}

#[test]
fn bailian_requests_form_trees_whose_waits_run_from_start_to_start() {
    let (collected, report) = imported("bailian.jsonl");
    // 30.25 - 0.5 s and 42.5 - 0.5 s, both after the root; chat 11 continues one that is not there.
    let expected = [
        "chat-10: 40+8, 64+9 after 29750(unknown), 50+7 after 42000(unknown)",
        "chat-11: 16+5",
    ];
    assert_eq!(shape(&collected), expected);
    let calls = value(&collected.sessions[0])["calls"].clone();
    assert_eq!(calls[1]["after"], Value::Null);
    assert_eq!(calls[2]["after"], json!([0]));
    // The third agrees with the root in 2 blocks of 16, though the second lies between them.
    assert_eq!(calls[2]["blocks"], json!({"keep": 2, "add": [[6, 2]]}));
    assert_eq!(calls[2]["x"], json!({"type": "text", "turn": 2}));
    assert_eq!(collected.meta.gap_semantics, GapSemantics::StartToStart);
    has(&report, &Warning::OrphanCalls { calls: 1 });
    has(&report, &Warning::StartToStartGaps { calls: 2 });
}

#[test]
fn a_trie_row_grows_by_answers_and_results() {
    let (collected, report) = imported("trie.jsonl");
    // 3,000 + 90 + 410.
    assert_eq!(
        shape(&collected),
        ["trie/0: 3000+90, 3500+700 after 1250(tool)", "trie/1: 50+1"]
    );
    assert_eq!(kept(&collected.sessions[0]), ["0", "3090"]);
    assert_eq!(
        value(&collected.sessions[0])["x"],
        json!({"customer": "c9"})
    );
    has(&report, &Warning::NoOutput { calls: 1 });
}

#[test]
fn an_infercept_request_goes_on_with_what_the_tool_returned() {
    let (collected, report) = imported("infercept.json");
    // 300 + 20 + 40 + 5.
    assert_eq!(
        shape(&collected),
        ["7: 300+20, 365+10 after 500(tool)", "9: 80+15"]
    );
    let tools = value(&collected.sessions[0])["calls"][0]["tools"].clone();
    assert_eq!(
        tools,
        json!([{"name": "api", "dur_ms": 500, "out_tokens": 40}])
    );
    has(&report, &Warning::NoCommonClock);
}

#[test]
fn azure_rows_start_at_unix_time_in_milliseconds() {
    let (collected, report) = imported("azure.csv");
    assert_eq!(shape(&collected), ["row-0: 2162+5", "row-1: 120+1"]);
    // 2024-05-10 is 1,715,299,200 s after 1970.
    let starts: Vec<Value> = collected
        .sessions
        .iter()
        .map(|s| value(s)["start_ms"].clone())
        .collect();
    assert_eq!(
        starts,
        [json!(1_715_299_200_009.93), json!(1_715_299_200_500_u64)]
    );
    assert!(collected.meta.has_common_clock());
    has(&report, &Warning::NoSessions);
    has(&report, &Warning::NoOutput { calls: 1 });
}

#[test]
fn burstgpt_rows_keep_what_has_no_place() {
    let (collected, report) = imported("burstgpt.csv");
    assert_eq!(shape(&collected), ["row-0: 472+18", "row-1: 87+1"]);
    let first = value(&collected.sessions[0]);
    assert_eq!(first["start_ms"], 5_000);
    assert_eq!(first["calls"][0]["obs"], json!({"api_ms": 2_500}));
    assert_eq!(
        first["calls"][0]["x"],
        json!({"Session ID": "", "Log Type": "Conversation log"})
    );
    assert_eq!(value(&collected.sessions[1])["calls"][0]["x"]["out"], 0);
    has(&report, &Warning::NoOutput { calls: 1 });
}

#[test]
fn both_tracelab_tables_say_the_same_in_their_own_order() {
    let (collected, report) = imported("tracelab-csv.csv");
    // x: 800; 900 + 150, of which 840 can be kept; 500 + 500. y keeps 100 of a time before the trace.
    let expected = [
        "x: 800+40, 1050+60 after 250.5(tool), 1000+10 after 0(tool)",
        "y: 400+20",
    ];
    assert_eq!(shape(&collected), expected);
    assert_eq!(kept(&collected.sessions[0]), ["-", "840", "500"]);
    assert_eq!(
        value(&collected.sessions[0])["calls"][2]["x"],
        json!({"tag": "four", "tool_wait_after_ms": 90})
    );
    assert_eq!(value(&collected.sessions[1])["start_ms"], 70);
    assert_eq!(collected.sessions[1].calls[0].cached, Some(100));
    has(&report, &Warning::KeepClipped { calls: 1 });
    let (collected, _) = imported("tracelab-csv.canonical.csv");
    assert_eq!(shape(&collected), ["1: 700+50, 840+30 after 120(tool)"]);
    assert_eq!(kept(&collected.sessions[0]), ["-", "750"]);
}
