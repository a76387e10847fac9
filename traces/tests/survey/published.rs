//! What the survey of traces says, number by number, beside what this code measures.

use crate::common::shared;
use crate::row::{Row, Rows, gap, three};
use crate::{agents, sources, weka};
use trace::stat::{GapClass, Stat};

/// A domain of tau2, its numbers as the survey writes them.
type DomainOfSurvey = (
    &'static str,
    &'static str,
    [&'static str; 2],
    &'static str,
    [&'static str; 2],
);

/// Every number that is compared; `None` where a public file is absent.
pub fn rows() -> Option<Vec<Row>> {
    let made = sources::make()?;
    let agentcgroup = shared("agentcgroup-claude-code/sessions.jsonl.zst")?;
    let tau2 = shared("tau2-bench/sessions.jsonl.zst")?;
    let mooncake = shared("mooncake-fast25/conversation_trace.first_half.jsonl.zst")?;
    let azure = ["code", "conv"]
        .map(|name| format!("azure-llm-2023/AzureLLMInferenceTrace_{name}.csv.zst"));
    let azure = [shared(&azure[0])?, shared(&azure[1])?];
    let mut rows = weka::rows(&sources::stat(&made.weka, &[], true));
    rows.extend(weka::first_prompts(&made.weka));
    rows.extend(weka::subagents(&shared("weka-claude-code/weka.jsonl.zst")?));
    rows.extend(agents::rows(&agentcgroup));
    rows.extend(chat(&tau2));
    rows.extend(conversations(
        &sources::stat(&mooncake, &[], false),
        &sources::stat(&made.chained, &[], false),
    ));
    rows.extend(requests(
        &azure.map(|path| sources::stat(&path, &[], false)),
    ));
    Some(rows)
}

/// Azure's two services.
fn requests([code, conv]: &[Stat; 2]) -> Vec<Row> {
    let mut rows = Rows {
        trace: "",
        rows: Vec::new(),
    };
    let medians = |rows: &mut Rows, stat: &Stat, input, output| {
        rows.row(stat, "input_tokens", &[(50.0, input)], None, &[]);
        rows.row(stat, "output_tokens", &[(50.0, output)], None, &[]);
    };
    rows.trace = "Azure, code";
    let arrivals = code.arrivals.unwrap();
    rows.add("requests per second", "2.6", arrivals.rate_per_s);
    rows.add("variation of intervals", "13.2", arrivals.cv);
    let busiest = "busiest minute, times the mean";
    rows.add(busiest, "4.2", arrivals.busiest_minute);
    medians(&mut rows, code, "1,469", "13");
    rows.trace = "Azure, conversation";
    let arrivals = conv.arrivals.unwrap();
    rows.add("requests per second", "5.5", arrivals.rate_per_s);
    rows.add("variation of intervals", "1.09", arrivals.cv);
    medians(&mut rows, conv, "1,020", "129");
    rows.rows
}

fn chat(path: &std::path::Path) -> Vec<Row> {
    let domains: [DomainOfSurvey; 3] = [
        (
            "tau2, airline",
            "gpt-4.1_airline",
            ["9.5", "13"],
            "3.34k",
            ["292", "812"],
        ),
        (
            "tau2, retail",
            "gpt-4.1_retail",
            ["12", "17"],
            "3.57k",
            ["293", "1,131"],
        ),
        (
            "tau2, telecom",
            "gpt-4.1_telecom",
            ["16", "19"],
            "6.34k",
            ["134", "218"],
        ),
    ];
    let mut rows = Rows {
        trace: "",
        rows: Vec::new(),
    };
    let mut all = Vec::new();
    for (trace, config, calls, first, result) in domains {
        rows.trace = trace;
        let stat = sources::stat(path, &[config], false);
        println!("{stat}");
        let some = |values: [&'static str; 2]| [(50.0, values[0]), (90.0, values[1])];
        rows.row(&stat, "calls_per_session", &some(calls), None, &[]);
        rows.row(&stat, "first_prompt_tokens", &[(50.0, first)], None, &[]);
        rows.row(
            &stat,
            "appended_after_tool_tokens",
            &some(result),
            None,
            &[],
        );
        all.push(stat);
    }
    // The survey gives the least and the largest of the three.
    rows.trace = "tau2, all three";
    let ends = |of: &dyn Fn(&Stat) -> f64| {
        let values = || all.iter().map(of);
        [
            values().fold(f64::INFINITY, f64::min),
            values().fold(0.0, f64::max),
        ]
    };
    let percentile = |quantity: &'static str, p| {
        move |stat: &Stat| {
            let row = stat.quantiles.iter().find(|row| row.name == quantity);
            row.expect(quantity).quantiles.at(p)
        }
    };
    let tools = |stat: &Stat| stat.calls_with_tools as f64 / stat.calls as f64;
    let ranges: [(&str, [&'static str; 2], [f64; 2]); 4] = [
        (
            "output_tokens, p50",
            ["48", "67"],
            ends(&percentile("output_tokens", 50.0)),
        ),
        (
            "output_tokens, p90",
            ["132", "158"],
            ends(&percentile("output_tokens", 90.0)),
        ),
        (
            "appended_after_human_tokens, p50",
            ["38", "47"],
            ends(&percentile("appended_after_human_tokens", 50.0)),
        ),
        ("share of calls with a tool", ["31%", "44%"], ends(&tools)),
    ];
    for (quantity, published, measured) in ranges {
        for (end, i) in [("least", 0), ("largest", 1)] {
            rows.add(format!("{quantity}, {end}"), published[i], measured[i]);
        }
    }
    rows.rows
}

fn conversations(plain: &Stat, chained: &Stat) -> Vec<Row> {
    println!("{plain}\n{chained}");
    let mut rows = Rows {
        trace: "Mooncake conversation",
        rows: Vec::new(),
    };
    rows.add("requests", "5,606", plain.calls as f64);
    rows.row(
        plain,
        "input_tokens",
        &three(["7.7k", "28.8k", "91.6k"]),
        None,
        &[],
    );
    rows.row(
        plain,
        "output_tokens",
        &[(50.0, "356"), (90.0, "609")],
        None,
        &[],
    );
    let arrivals = plain.arrivals.unwrap();
    rows.add("requests per second", "3.17", arrivals.rate_per_s);
    rows.add("variation of intervals", "2.9", arrivals.cv);
    rows.add(
        "hits of an infinite cache",
        "34%",
        plain.prefix_hit_ratio.unwrap(),
    );
    let linked = 1.0 - chained.sessions as f64 / chained.calls as f64;
    rows.add("requests that extend an earlier one", "26%", linked);
    let gap = gap(chained, GapClass::Unknown);
    rows.quantiles(
        "gap of those [s]",
        &gap.quantiles,
        gap.fit.as_ref(),
        &[(50.0, "123"), (90.0, "428")],
        None,
        &["4.85", ".91", ".03"],
    );
    rows.rows
}
