//! Formats that hold texts: tokens are estimated at 3.87 characters each.

use super::{has, imported, shape};
use serde_json::json;
use trace::import::Warning;

#[test]
fn an_aiperf_conversation_grows_by_its_texts() {
    let (collected, report) = imported("aiperf-multi-turn.jsonl");
    // 8 + 9 characters: 3 + 3 tokens. "rst" and "uvw" are 6: 2 tokens, on 6 + 25. Then "one", and 1 + 1 + "two".
    let expected = [
        "c1: 6+25, 33+30 after 750(human)",
        "row-1: 1+1, 3+1 after 0(unknown)",
    ];
    assert_eq!(shape(&collected), expected);
    let first = serde_json::to_value(&collected.sessions[0]).unwrap();
    assert_eq!(
        (&first["start_ms"], &first["x"]),
        (&json!(500), &json!({"lang": "en"}))
    );
    assert_eq!(first["calls"][1]["x"], json!({"image": "i.png"}));
    has(&report, &Warning::EstimatedInput { calls: 4 });
    has(&report, &Warning::NoOutput { calls: 2 });
    has(&report, &Warning::NoGaps { calls: 1 });
}

#[test]
fn every_answer_of_a_conversation_is_a_call() {
    let (collected, report) = imported("vllm-multi-turn.json");
    // k1: 8 and 20 characters are 3 + 6 tokens, the answer of 36 is 10; then "42" is 1, on 9 + 10; "done" is 2.
    // 7 begins with an answer, which is part of the prompt: 5 and 2 characters, 2 + 1. Its own answer is empty.
    let expected = ["k1: 9+10, 20+2 after 0(tool)", "7: 3+1"];
    assert_eq!(shape(&collected), expected);
    let x = collected.sessions[0].x.as_ref().unwrap();
    assert_eq!(json!(x), json!({"source": "hand"}));
    has(&report, &Warning::EstimatedOutput { calls: 3 });
    has(&report, &Warning::EmptySessions { sessions: 1 });
    // "bye" and "anyone?".
    has(&report, &Warning::IgnoredEntries { entries: 2 });
}

#[test]
fn conversations_drawn_from_a_recipe_share_its_prefix() {
    let (collected, report) = imported("vllm-multi-turn.generate.json");
    assert_eq!(report.sessions, 3);
    for session in &collected.sessions {
        let prefix = serde_json::to_value(&session.shared_prefix).unwrap();
        assert_eq!(prefix, json!([{"id": "common:64", "tokens": 64}]));
        // 3 to 6 turns are 2 or 3 answers.
        assert!((2..=3).contains(&session.calls.len()));
        assert!(session.calls.iter().all(|call| call.output <= 50));
    }
    let x = collected.sessions[0].x.as_ref().unwrap();
    assert_eq!(json!(x), json!({"text_files": ["t.txt"]}));
    has(&report, &Warning::Drawn);
}
