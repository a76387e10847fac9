//! `trace stat`: sums by hand.
#![allow(clippy::float_cmp)] // The numbers are small binary fractions: exact.

mod common;

use common::{call, session, sized_meta};
use trace::format::{Blocks, Call, GapKind, Millis, Session};
use trace::stat::{GapClass, QuantileRow, Stat};

fn two_sessions() -> Vec<Session> {
    let blocks = |keep, add: &[(u64, u32)]| {
        Some(Blocks {
            keep,
            add: add.to_vec(),
            ..Blocks::default()
        })
    };
    let gap = |s: u64| Millis::from_millis(s * 1_000);
    let calls = vec![
        Call {
            blocks: blocks(0, &[(1, 4)]),
            ..call(0, 300, 40)
        },
        Call {
            blocks: blocks(4, &[(5, 2)]),
            gap_ms: gap(2),
            ..call(1, 420, 60)
        },
        Call {
            blocks: blocks(3, &[(40, 4)]),
            gap_ms: gap(90),
            gap_kind: GapKind::Mixed,
            ..call(2, 500, 20)
        },
    ];
    let other = vec![Call {
        blocks: blocks(0, &[(1, 1)]),
        ..call(0, 100, 10)
    }];
    vec![session("a", calls), session("b", other)]
}

fn stat() -> Stat {
    Stat::of(&sized_meta(), two_sessions().into_iter().map(Ok)).unwrap()
}

#[test]
fn counts_and_sums_are_those_of_the_calls() {
    let stat = stat();
    assert_eq!((stat.sessions, stat.calls, stat.subagents), (2, 4, 0));
    // 300 + 420 + 500 + 100; 40 + 60 + 20 + 10.
    assert_eq!((stat.input_tokens, stat.output_tokens), (1_320, 130));
    // The third call of "a" keeps 3 of 6 blocks.
    assert_eq!(stat.prefix_losses, 1);
    let row = |name: &str| stat.quantiles.iter().find(|row| row.name == name).unwrap();
    let QuantileRow { quantiles, .. } = row("calls_per_session");
    assert_eq!(
        (quantiles.count, quantiles.mean, quantiles.at(50.0)),
        (2, 2.0, 2.0)
    );
    // 420 - 300 - 40 = 80 after a tool; the third lost its prefix and does not count.
    let appended = &row("appended_after_tool_tokens").quantiles;
    assert_eq!((appended.count, appended.max), (1, 80.0));
    assert!(!stat.quantiles.iter().any(|row| row.name == "api_s"));
}

#[test]
fn an_infinite_cache_holds_what_the_session_sent_before() {
    let stat = stat();
    // Session ids: "b" finds nothing of "a". Calls 1 and 2 of "a" hit 4 and 3 blocks of 64: 448 tokens.
    assert_eq!(stat.prefix_hit_ratio, Some(448.0 / 1_320.0));
    assert_eq!(stat.prefix_hit_ratio_after_first, Some(448.0 / 920.0));
}

#[test]
fn gaps_are_counted_by_kind_and_by_length() {
    let stat = stat();
    let kinds: Vec<GapClass> = stat.gaps.iter().map(|row| row.kind).collect();
    assert_eq!(
        kinds,
        [GapClass::Tool, GapClass::Mixed, GapClass::ToolOrMixed]
    );
    let both = &stat.gaps[2];
    // 2 s and 90 s: both above 1 s, one above 2 s and 60 s.
    assert_eq!(both.total_s, 92.0);
    assert_eq!(both.long_share, Some(90.0 / 92.0));
    assert_eq!(
        both.survival,
        [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0]
    );
}

#[test]
fn the_table_names_every_row_and_aligns_its_columns() {
    let table = stat().to_string();
    for name in [
        "calls_per_session",
        "tool or mixed",
        "infinite-cache hits   33.9 % of prompt tokens, 48.7 %",
    ] {
        assert!(table.contains(name), "{name} in\n{table}");
    }
    let widths: Vec<usize> = table
        .lines()
        .skip_while(|line| !line.starts_with("quantity"))
        .take_while(|l| !l.is_empty())
        .map(str::len)
        .collect();
    assert!(
        widths.len() > 4 && widths.iter().all(|width| *width == widths[0]),
        "{widths:?}"
    );
}

#[test]
fn an_empty_trace_has_no_rows() {
    let stat = Stat::of(&sized_meta(), std::iter::empty()).unwrap();
    assert_eq!((stat.sessions, stat.prefix_hit_ratio), (0, None));
    assert!(stat.quantiles.is_empty() && stat.gaps.is_empty());
    assert!(stat.to_string().contains("sessions              0"));
}
