//! Bad input: an error with file, line and what would do; never a panic, never a silent skip.

use super::fixtures;
use crate::common::import::{RAW, import_text};

/// Format, source, and what the error must say.
const CASES: [(&str, &str, &str); 40] = [
    (
        "mooncake",
        "{\"timestamp\": 0, \"input_le",
        "source:1:26: EOF while parsing",
    ),
    (
        "mooncake",
        r#"{"timestamp": -3, "input_length": 1, "output_length": 1, "hash_ids": []}"#,
        "integer `-3`, expected milliseconds",
    ),
    (
        "mooncake",
        r#"{"timestamp": 0, "input_length": "1", "output_length": 1, "hash_ids": []}"#,
        "invalid type: string \"1\", expected u32",
    ),
    (
        "mooncake",
        r#"{"timestamp": 0, "input_length": 99999999999, "output_length": 1, "hash_ids": []}"#,
        "integer `99999999999`, expected u32",
    ),
    (
        "mooncake",
        r#"{"timestamp": 0, "input_length": 4294967295, "output_length": 1, "hash_ids": []}"#,
        "4294967296 tokens in one call; at most 2^31",
    ),
    (
        "mooncake",
        r#"{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [-1]}"#,
        "integer `-1`, expected u64",
    ),
    (
        "mooncake",
        "{\"timestamp\": 0, \"input_length\": 5, \"output_length\": 1}\n{\"session_id\": 1, \"timestamp\": 0, \"input_length\": 5, \"output_length\": 1}",
        "source:2: a row with `session_id` after rows without",
    ),
    (
        "mooncake-delta",
        "{\"session_id\": 1, \"input_length\": 2147483000, \"output_length\": 600}\n{\"session_id\": 1, \"delay\": 0, \"input_length\": 2147483000, \"output_length\": 1}",
        "source:2: the prompt of increments has 4294966600 tokens",
    ),
    (
        "agentic-mooncake",
        r#"{"request_id": "a", "session_id": "s", "input_length": 5, "output_length": 1, "hash_ids": [], "wait_for": ["z"]}"#,
        "source:1: `wait_for` names `z`, which no earlier row is called",
    ),
    (
        "agentic-mooncake",
        "{\"request_id\": \"a\", \"session_id\": \"s\", \"input_length\": 5, \"output_length\": 1, \"hash_ids\": []}\n{\"request_id\": \"a\", \"session_id\": \"s\", \"input_length\": 5, \"output_length\": 1, \"hash_ids\": []}",
        "source:2: a second request is called `a`",
    ),
    (
        "agentic-mooncake",
        "{\"request_id\": \"a\", \"session_id\": \"s\", \"input_length\": 5, \"output_length\": 1, \"hash_ids\": []}\n{\"request_id\": \"b\", \"session_id\": \"s\", \"input_length\": 5, \"output_length\": 1, \"hash_ids\": [], \"tool_events\": [{\"tool_class\": \"web\", \"started_at_unix_ms\": 9, \"ended_at_unix_ms\": 8}]}",
        "source:2: tool `web` ends before it starts",
    ),
    (
        "agentic-mooncake",
        "{\"request_id\": \"a\", \"session_id\": \"s\", \"input_length\": 5, \"output_length\": 1, \"hash_ids\": []}\n{\"request_id\": \"b\", \"session_id\": \"s\", \"input_length\": 5, \"output_length\": 1, \"hash_ids\": [], \"delay\": 9999999999999, \"tool_wait_ms\": 9999999999999}",
        "source:2: `delay` + `tool_wait_ms` is more than 300 years",
    ),
    (
        "bailian",
        r#"{"chat_id": 1, "parent_chat_id": -1, "timestamp": -2.0, "input_length": 5, "output_length": 1, "hash_ids": []}"#,
        "source:1: `timestamp` is -2 seconds",
    ),
    (
        "bailian",
        "{\"chat_id\": 1, \"parent_chat_id\": -1, \"timestamp\": 5, \"input_length\": 5, \"output_length\": 1, \"hash_ids\": []}\n{\"chat_id\": 2, \"parent_chat_id\": 1, \"timestamp\": 4, \"input_length\": 5, \"output_length\": 1, \"hash_ids\": []}",
        "source:2: the timestamp lies before that of the parent",
    ),
    (
        "tracelab",
        r#"{"session_id": "s", "round_index": 0, "input_tokens_total": 5, "prefix_tokens": 0, "output_tokens": 1, "timing_events": [{"event_type": "text", "timestamp": "noon"}], "tools": []}"#,
        "source:1: `timestamp` is \"noon\", not a time since 1970",
    ),
    (
        "tracelab",
        "{\"session_id\": \"s\", \"round_index\": 3, \"input_tokens_total\": 5, \"prefix_tokens\": 0, \"output_tokens\": 1, \"timing_events\": [], \"tools\": []}\n{\"session_id\": \"s\", \"round_index\": 3, \"input_tokens_total\": 5, \"prefix_tokens\": 0, \"output_tokens\": 1, \"timing_events\": [], \"tools\": []}",
        "has round 3 twice, on lines 1 and 2",
    ),
    (
        "tracelab-csv",
        "id,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms\na,1,0,5,1,0\na,1,0,5,1,0",
        "source:3: round 1 after round 1 of session `a`; sort the rows",
    ),
    (
        "tracelab-csv",
        "id,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms\na,1,0,5,1",
        "source:2: 5 cells, but the heading has 6",
    ),
    (
        "tracelab-csv",
        "id,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms\na,0,0,x,1,0",
        "source:2: `input_len` is \"x\", not a whole number",
    ),
    (
        "tracelab-csv",
        "id,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms\na,0,0,5,1,-1",
        "source:2: `tool_wait_after_ms` is \"-1\", not milliseconds",
    ),
    (
        "tracelab-csv",
        "id,round_idx,prefix_len,input_len,output_len,tool_wait_after_ms\na,0,2147483648,2147483648,1,1",
        "source:2: the prompt has 4294967296 tokens",
    ),
    (
        "trie",
        r#"{"num_turns": 2, "input_prompt_length": 5, "assistant_response_length": [1], "tool_call_output_length": [1, 2], "tool_call_latency": [1, 2], "final_assistant_response_length": 1}"#,
        "source:1: `assistant_response_length` has 1 entries, but num_turns = 2",
    ),
    (
        "trie",
        r#"{"num_turns": 1, "input_prompt_length": 5, "assistant_response_length": [1], "tool_call_output_length": [1], "tool_call_latency": [-1], "final_assistant_response_length": 1}"#,
        "source:1: `tool_call_latency` holds -1 seconds",
    ),
    (
        "aiperf-multi-turn",
        r#"{"turns": [{"text": "a", "delay": -1}]}"#,
        "integer `-1`, expected milliseconds",
    ),
    (
        "aiperf-multi-turn",
        r#"{"turns": []}"#,
        "session `row-0` has no calls; remove it",
    ),
    (
        "vllm-multi-turn",
        r#"[{"messages": [{"content": "x"}]}]"#,
        "source:1: conversation 0: a message without `role`",
    ),
    (
        "vllm-multi-turn",
        "[7]",
        "source:1: conversation 0: not an object with `messages`",
    ),
    (
        "vllm-multi-turn",
        r#"{"filetype": "generate_conversations", "num_conversations": 9, "prompt_input": {"num_turns": {"distribution": "normal"}}}"#,
        "source:1: no distribution is called \"normal\"; known: constant",
    ),
    (
        "vllm-multi-turn",
        r#"{"filetype": "other", "num_conversations": 1, "prompt_input": {"num_turns": {"distribution": "constant", "value": 2}, "prefix_num_tokens": {"distribution": "constant", "value": 2}, "num_tokens": {"distribution": "constant", "value": 2}}, "prompt_output": {"num_tokens": {"distribution": "constant", "value": 2}}}"#,
        "source:1: filetype \"other\"; known: generate_conversations",
    ),
    (
        "claude-code",
        r#"{"type": "user", "sessionId": "s", "message": {"content": "x"}}"#,
        "source:1: a message without `timestamp`",
    ),
    (
        "claude-code",
        r#"{"type": "user", "sessionId": "s", "timestamp": "1960-01-01T00:00:00Z", "message": {"content": "x"}}"#,
        "not a time since 1970",
    ),
    (
        "claude-code",
        r#"{"type": "assistant", "sessionId": "s", "timestamp": "2026-01-01T00:00:00Z", "message": {"id": "m", "usage": {"input_tokens": 4000000000, "cache_read_input_tokens": 4000000000}}}"#,
        "the prompt has 8000000000 tokens",
    ),
    (
        "swe-agent",
        r#"{"trajectory": [{"response": "x", "execution_time": -0.5}]}"#,
        "source:1: step 0: `execution_time` is -0.5 seconds",
    ),
    (
        "swe-agent",
        r#"{"trajectory": 5}"#,
        "source:1: `trajectory` is no list",
    ),
    (
        "swe-agent",
        r#"{"messages": [{"content": "x"}]}"#,
        "source:1: message 0: no `role`",
    ),
    (
        "infercept",
        r#"{"a": [{"prompt_tokens": 5, "completion_tokens": 1, "api_time": -2}]}"#,
        "source:1: request \"a\": `api_time` is -2 seconds",
    ),
    (
        "azure",
        "TIMESTAMP,ContextTokens,GeneratedTokens\ntoday,1,1",
        "source:2: `TIMESTAMP` is \"today\", not a time such as",
    ),
    (
        "burstgpt",
        "Timestamp,Model,Request tokens,Response tokens\n-1,m,1,1",
        "source:2: `Timestamp` is \"-1\", not seconds since the start",
    ),
    (
        "otel-genai",
        r#"{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "t", "spanId": "s", "startTimeUnixNano": "9", "endTimeUnixNano": "8"}]}]}]}"#,
        "source:1: span s ends before it starts",
    ),
    (
        "otel-genai",
        r#"{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "t", "spanId": "s", "startTimeUnixNano": "8", "endTimeUnixNano": "9", "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}, {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "-5"}}]}]}]}]}"#,
        "span s: `gen_ai.usage.input_tokens` is -5, not a count",
    ),
];

#[test]
fn every_mistake_is_named_with_its_place_and_value() {
    for (format, text, expected) in CASES {
        let error = import_text(format, text, &RAW).err();
        let error = error
            .unwrap_or_else(|| panic!("{format} accepts {text}"))
            .to_string();
        assert!(error.starts_with("source:"), "{format}: {error}");
        assert!(error.contains(expected), "{format}: {error} for {text}");
    }
}

#[test]
fn an_empty_source_is_an_error_of_every_format() {
    for (_, format) in fixtures() {
        for text in ["", "\n\n"] {
            let error = import_text(format.name, text, &RAW)
                .err()
                .unwrap()
                .to_string();
            assert!(
                error.contains("no session with an LLM call"),
                "{}: {error}",
                format.name
            );
        }
    }
}

#[test]
fn a_source_cut_off_anywhere_gives_sessions_or_an_error_with_its_place() {
    for (path, format) in fixtures() {
        let text = std::fs::read_to_string(path).unwrap();
        for (cut, _) in text.char_indices() {
            let outcome = import_text(format.name, &text[..cut], &RAW);
            if let Err(error) = outcome {
                assert!(
                    error.to_string().starts_with("source"),
                    "{}: {error}",
                    format.name
                );
            }
        }
    }
}
