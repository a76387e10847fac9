//! What the survey of traces says, number by number, beside what this code measures.

use crate::common::shared;
use crate::sources;
use trace::stat::{GapClass, LognormalFit, Quantiles, Stat};

/// One number of the survey.
pub struct Row {
    pub trace: &'static str,
    pub quantity: String,
    /// As it is written there.
    pub published: &'static str,
    pub measured: f64,
    /// Why the two differ, where they do.
    pub why: &'static str,
}

impl Row {
    /// The published value and half a unit of its last digit: `3,526`, `18.2k`, `.93`, `97.3%`, `20h`.
    fn value(&self) -> (f64, f64) {
        let text = self.published.replace(',', "");
        let (number, scale) = match text.as_bytes()[text.len() - 1] {
            b'k' => (&text[..text.len() - 1], 1e3),
            b'%' => (&text[..text.len() - 1], 1e-2),
            b'h' => (&text[..text.len() - 1], 3_600.0),
            _ => (&text[..], 1.0),
        };
        let decimals = number.find('.').map_or(0, |point| number.len() - point - 1);
        let half = 0.5 * 0.1_f64.powi(decimals as i32);
        (number.parse::<f64>().unwrap() * scale, half * scale)
    }

    pub fn is_equal(&self) -> bool {
        let (value, half) = self.value();
        (self.measured - value).abs() <= half * (1.0 + 1e-9)
    }

    /// The measured value in the form of the published one, with a digit more where they differ.
    pub fn shown(&self) -> String {
        let (_, half) = self.value();
        let more = usize::from(!self.is_equal());
        let (scale, unit) = match self.published.as_bytes()[self.published.len() - 1] {
            b'k' => (1e3, "k"),
            b'%' => (1e-2, "%"),
            b'h' => (3_600.0, "h"),
            _ => (1.0, ""),
        };
        let decimals = (-(2.0 * half / scale).log10()).round().max(0.0) as usize;
        format!("{:.*}{unit}", decimals + more, self.measured / scale)
    }

    pub fn verdict(&self) -> String {
        if self.is_equal() {
            return "=".to_owned();
        }
        let (value, _) = self.value();
        let off = (self.measured / value - 1.0) * 100.0;
        format!("{off:+.1} %: {}", self.why)
    }
}

/// Collects rows of one trace.
struct Rows {
    trace: &'static str,
    rows: Vec<Row>,
}

impl Rows {
    fn add(&mut self, quantity: impl Into<String>, published: &'static str, measured: f64) {
        let (trace, quantity) = (self.trace, quantity.into());
        let why = why(trace, &quantity);
        self.rows.push(Row {
            trace,
            quantity,
            published,
            measured,
            why,
        });
    }

    /// The columns of a table of quantiles: `percentiles` that are published, then the largest, then mu, sigma, KS and tail index.
    fn quantiles(
        &mut self,
        name: &str,
        quantiles: &Quantiles,
        fit: Option<&LognormalFit>,
        percentiles: &[(f64, &'static str)],
        max: Option<&'static str>,
        fitted: &[&'static str],
    ) {
        for &(p, published) in percentiles {
            self.add(format!("{name}, p{p}"), published, quantiles.at(p));
        }
        if let Some(published) = max {
            self.add(format!("{name}, max"), published, quantiles.max);
        }
        let Some(fit) = fit else { return };
        let tail = fit.tail_alpha.unwrap_or(f64::NAN);
        let values = [
            ("mu", fit.mu),
            ("sigma", fit.sigma),
            ("KS", fit.ks),
            ("tail", tail),
        ];
        for (&published, (part, measured)) in fitted.iter().zip(values) {
            if !published.is_empty() {
                self.add(format!("{name}, {part}"), published, measured);
            }
        }
    }

    fn row(
        &mut self,
        stat: &Stat,
        quantity: &str,
        percentiles: &[(f64, &'static str)],
        max: Option<&'static str>,
        fitted: &[&'static str],
    ) {
        let row = stat
            .quantiles
            .iter()
            .find(|row| row.name == quantity)
            .expect(quantity);
        self.quantiles(
            quantity,
            &row.quantiles,
            row.fit.as_ref(),
            percentiles,
            max,
            fitted,
        );
    }

    fn survival(&mut self, stat: &Stat, class: GapClass, published: &[&'static str]) {
        let row = stat.gaps.iter().find(|row| row.kind == class).unwrap();
        let points = trace::stat::SURVIVAL_S.iter().zip(row.survival);
        for (&published, (t, share)) in published.iter().zip(points) {
            self.add(format!("P(tool gap > {t} s)"), published, share);
        }
    }
}

/// Percentiles 5 to 99 with these values.
fn all(values: [&'static str; 7]) -> [(f64, &'static str); 7] {
    let mut rows = trace::stat::PERCENTILES.map(|p| (p, ""));
    for (row, value) in rows.iter_mut().zip(values) {
        row.1 = value;
    }
    rows
}

/// Median, 90 and 99 %.
fn three(values: [&'static str; 3]) -> [(f64, &'static str); 3] {
    [(50.0, values[0]), (90.0, values[1]), (99.0, values[2])]
}

fn gap(stat: &Stat, class: GapClass) -> &trace::stat::GapRow {
    stat.gaps.iter().find(|row| row.kind == class).unwrap()
}

/// Every number that is compared; `None` where a public file is absent.
pub fn rows() -> Option<Vec<Row>> {
    let made = sources::make()?;
    let agentcgroup = shared("agentcgroup-claude-code/sessions.jsonl.zst")?;
    let tau2 = shared("tau2-bench/sessions.jsonl.zst")?;
    let mooncake = shared("mooncake-fast25/conversation_trace.first_half.jsonl.zst")?;
    let mut rows = weka(&sources::stat(&made.weka, &[], true));
    rows.extend(agents(&agentcgroup));
    rows.extend(chat(&tau2));
    rows.extend(conversations(
        &sources::stat(&mooncake, &[], false),
        &sources::stat(&made.chained, &[], false),
    ));
    Some(rows)
}

fn weka(stat: &Stat) -> Vec<Row> {
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

fn agents(path: &std::path::Path) -> Vec<Row> {
    let of = |config| sources::stat(path, &[config], true);
    let mut rows = Rows {
        trace: "agentcgroup, GLM-4.7-Flash",
        rows: Vec::new(),
    };
    let glm = of("glm-4.7-flash-local");
    println!("{glm}");
    let some = |p50, p90| [(50.0, p50), (90.0, p90)];
    rows.add("sessions", "111", glm.sessions as f64);
    rows.row(
        &glm,
        "calls_per_session",
        &some("45", "92"),
        Some("145"),
        &["3.75", ".63"],
    );
    rows.row(&glm, "first_prompt_tokens", &[(50.0, "13.4k")], None, &[]);
    rows.row(
        &glm,
        "appended_after_tool_tokens",
        &three(["305", "1,467", "11.5k"]),
        None,
        &[],
    );
    rows.row(
        &glm,
        "output_tokens",
        &three(["145", "601", "1,399"]),
        None,
        &["5.09", ".95"],
    );
    rows.row(
        &glm,
        "context_max_tokens",
        &some("54k", "84k"),
        Some("127k"),
        &[],
    );
    let parallel = |stat: &Stat| stat.calls_with_parallel_tools as f64 / stat.calls as f64;
    rows.add("calls with more than one tool", "13.9%", parallel(&glm));

    rows.trace = "agentcgroup, Haiku-4.5";
    let haiku = of("claude-haiku-4.5-cloud");
    println!("{haiku}");
    rows.add("sessions", "42", haiku.sessions as f64);
    rows.row(
        &haiku,
        "calls_per_session",
        &some("41", "70"),
        Some("121"),
        &[],
    );
    rows.row(&haiku, "first_prompt_tokens", &[(50.0, "19.2k")], None, &[]);
    rows.row(
        &haiku,
        "appended_after_tool_tokens",
        &three(["361", "1,574", "4.1k"]),
        None,
        &["5.90", "1.11"],
    );
    rows.row(
        &haiku,
        "output_tokens",
        &three(["89", "509", "1,347"]),
        None,
        &[],
    );
    rows.row(
        &haiku,
        "context_max_tokens",
        &some("66k", "84k"),
        Some("106k"),
        &[],
    );
    rows.add("calls with more than one tool", ".8%", parallel(&haiku));
    rows.add(
        "cache reads after the first call",
        "98.1%",
        haiku.cached_ratio_after_first.unwrap(),
    );
    rows.survival(
        &haiku,
        GapClass::ToolOrMixed,
        &[".35", ".23", ".11", ".049", ".034", ".021", ".012", ".0025"],
    );
    let long = |stat: &Stat| gap(stat, GapClass::ToolOrMixed).long_share.unwrap();
    rows.add("share of tool gap time above 60 s", "52%", long(&haiku));
    let tools: [(&str, &str, [&str; 3], &str, [&str; 2]); 11] = [
        (
            "file_read",
            "306",
            [".031", ".11", ".40"],
            ".6",
            ["-3.70", "1.31"],
        ),
        (
            "file_edit",
            "150",
            [".033", ".07", ".11"],
            ".4",
            ["-3.49", ".81"],
        ),
        (
            "file_search",
            "19",
            [".073", ".13", ".14"],
            ".1",
            ["-2.54", ".42"],
        ),
        (
            "plan",
            "115",
            [".032", ".07", ".13"],
            ".2",
            ["-3.46", ".53"],
        ),
        (
            "subagent",
            "25",
            ["62", "98", "192"],
            "220",
            ["3.98", ".70"],
        ),
        (
            "shell:test",
            "260",
            ["1.68", "9.4", "83"],
            "182",
            [".67", "1.07"],
        ),
        (
            "shell:install",
            "60",
            ["1.94", "7.8", "48"],
            "60",
            [".91", "1.00"],
        ),
        (
            "shell:python",
            "221",
            [".82", "1.7", "4.4"],
            "11",
            ["-.46", ".99"],
        ),
        (
            "shell:git",
            "192",
            [".11", ".38", "1.1"],
            "1.8",
            ["-2.27", "1.06"],
        ),
        (
            "shell:search",
            "158",
            [".10", ".32", "2.8"],
            "12",
            ["-2.24", "1.13"],
        ),
        (
            "shell:fs-small",
            "91",
            [".17", "1.0", "1.9"],
            "2.1",
            ["-1.59", "1.31"],
        ),
    ];
    let with_children = sources::stat(path, &["claude-haiku-4.5-cloud"], false);
    for (class, count, percentiles, max, fit) in tools {
        let row = with_children
            .tools
            .iter()
            .find(|row| row.class == class)
            .expect(class);
        rows.add(format!("{class}, n"), count, row.quantiles.count as f64);
        rows.quantiles(
            class,
            &row.quantiles,
            row.fit.as_ref(),
            &three(percentiles),
            Some(max),
            &fit,
        );
    }

    rows.trace = "agentcgroup, Haiku-3.5";
    let older = of("claude-haiku-3.5-cloud");
    println!("{older}");
    rows.add("sessions", "45", older.sessions as f64);
    rows.row(
        &older,
        "calls_per_session",
        &some("16", "33"),
        Some("38"),
        &[],
    );
    rows.row(&older, "first_prompt_tokens", &[(50.0, "14.8k")], None, &[]);
    rows.row(
        &older,
        "appended_after_tool_tokens",
        &three(["339", "3,156", "18.7k"]),
        None,
        &[],
    );
    rows.row(
        &older,
        "output_tokens",
        &three(["53", "255", "1,145"]),
        None,
        &[],
    );
    rows.row(
        &older,
        "context_max_tokens",
        &some("35k", "67k"),
        Some("113k"),
        &[],
    );
    rows.add(
        "cache reads after the first call",
        "95.5%",
        older.cached_ratio_after_first.unwrap(),
    );
    rows.survival(
        &older,
        GapClass::ToolOrMixed,
        &[".28", ".20", ".088", ".054", ".039", ".021", ".020", ".013"],
    );
    rows.add("share of tool gap time above 60 s", "75%", long(&older));
    rows.rows
}

fn chat(path: &std::path::Path) -> Vec<Row> {
    let domains: [(&str, &str, [&str; 2], &str, [&str; 2]); 3] = [
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

/// Who is right, where the two differ.
fn why(_trace: &str, _quantity: &str) -> &'static str {
    ""
}
