//! Section 2.1 of the survey, and the first row of 2.3.

use crate::row::{Row, Rows, all, gap};
use crate::sources;
use std::path::Path;
use trace::stat::{GapClass, Stat};

/// Of main agents, one session per cluster.
pub fn rows(stat: &Stat) -> Vec<Row> {
    println!("{stat}");
    let mut rows = Rows {
        trace: "Weka",
        rows: Vec::new(),
    };
    rows.add("independent sessions", "501", stat.sessions as f64);
    rows.add("calls of main agents", "31,976", stat.calls as f64);
    rows.row(
        stat,
        "calls_per_session",
        &all(["4", "18", "43", "89", "141", "210", "324"]),
        Some("439"),
        &["3.60", "1.14", ".06", "3.9"],
    );
    rows.row(
        stat,
        "input_tokens",
        &all(["30k", "64k", "98k", "133k", "192k", "308k", "499k"]),
        Some("894k"),
        &["11.45", ".66", ".09", "3.1"],
    );
    rows.row(
        stat,
        "output_tokens",
        &all(["87", "138", "215", "421", "851", "1,432", "3,526"]),
        Some("18.2k"),
        &["5.55", ".88", ".08", "1.8"],
    );
    rows.row(
        stat,
        "appended_after_tool_tokens",
        &all(["16", "111", "396", "1,273", "3,383", "6,231", "16.4k"]),
        Some("235k"),
        &["5.87", "1.84", ".04", "1.6"],
    );
    rows.row(
        stat,
        "appended_after_human_tokens",
        &all(["18", "87", "255", "791", "2,435", "4,897", "13.4k"]),
        Some("95k"),
        &["5.58", "1.70", ".02", "1.6"],
    );
    rows.row(
        stat,
        "gap_raw_tool_or_mixed_s",
        &all(["3", "5", "9", "19", "75", "160", "905"]),
        Some("20h"),
        &["2.52", "1.26", ".15", ".9"],
    );
    let tool = gap(stat, GapClass::ToolOrMixed);
    rows.quantiles(
        "gap_tool_or_mixed_s",
        &tool.quantiles,
        tool.fit.as_ref(),
        &all(["0", "0", "1.2", "7.3", "63", "143", "840"]),
        Some("20h"),
        &["1.40", "2.21", ".07", ".9"],
    );
    rows.row(
        stat,
        "gap_raw_human_s",
        &all(["8", "39", "120", "363", "1,110", "1,845", "5,080"]),
        Some("11h"),
        &["4.79", "1.65", ".02", "1.6"],
    );
    rows.row(
        stat,
        "api_s",
        &all(["3.0", "4.2", "6.0", "10", "17.7", "26.9", "58.5"]),
        Some("300"),
        &["1.94", ".69", ".09", "2.0"],
    );
    rows.row(
        stat,
        "context_max_tokens",
        &all(["46k", "107k", "148k", "170k", "347k", "492k", "838k"]),
        Some("895k"),
        &["11.87", ".69", "", "3.4"],
    );
    rows.survival(
        stat,
        GapClass::ToolOrMixed,
        &[
            ".62", ".53", ".41", ".29", ".22", ".14", ".107", ".065", ".029", ".017", ".005",
        ],
    );
    rows.add(
        "share of tool gap time above 60 s",
        "94%",
        tool.long_share.unwrap(),
    );
    let hit = stat.prefix_hit_ratio_after_first.unwrap();
    rows.add(
        "prefix hits of an infinite cache after the first call",
        "97.3%",
        hit,
    );
    let later = stat.calls - stat.sessions;
    rows.add(
        "calls that lose their prefix",
        "1.85%",
        stat.prefix_losses as f64 / later as f64,
    );
    let [after_human, after_tool] = stat.turnover.probabilities();
    rows.add("P(user after user)", ".51", after_human.unwrap());
    rows.add("P(user after tool)", ".07", after_tool.unwrap());
    rows.rows
}

/// First prompts, by whether the session is fresh (below 40,000 tokens) or goes on with an earlier conversation.
pub fn first_prompts(path: &Path) -> Vec<Row> {
    let mut rows = Rows {
        trace: "Weka",
        rows: Vec::new(),
    };
    let fresh = sources::stat_of(path, |session| session.calls[0].input < 40_000);
    let resumed = sources::stat_of(path, |session| session.calls[0].input >= 40_000);
    let all = fresh.sessions + resumed.sessions;
    rows.add(
        "share of fresh sessions",
        "58%",
        fresh.sessions as f64 / all as f64,
    );
    let first = |stat: &Stat, p| {
        let row = stat
            .quantiles
            .iter()
            .find(|row| row.name == "first_prompt_tokens");
        row.expect("every session has one").quantiles.at(p)
    };
    for (p, published) in [(5.0, "12.0k"), (50.0, "19.1k"), (95.0, "28k")] {
        rows.add(
            format!("first prompt of fresh sessions, p{p}"),
            published,
            first(&fresh, p),
        );
    }
    rows.add(
        "first prompt of resumed sessions, p50",
        "123k",
        first(&resumed, 50.0),
    );
    rows.rows
}

/// Sub-agents of the whole file.
pub fn subagents(path: &Path) -> Vec<Row> {
    let mut rows = Rows {
        trace: "Weka, sub-agents",
        rows: Vec::new(),
    };
    let stat = sources::stat_of(path, |session| session.parent.is_some());
    rows.add("sub-agents", "53", stat.sessions as f64);
    rows.row(&stat, "calls_per_session", &[(50.0, "10")], None, &[]);
    rows.row(&stat, "first_prompt_tokens", &[(50.0, "10.3k")], None, &[]);
    rows.rows
}
