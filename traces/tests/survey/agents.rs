//! Sections 2.2 and 2.4 of the survey, and the next rows of 2.3.

use crate::row::{Row, Rows, gap, three};
use crate::sources;
use trace::stat::{GapClass, Stat};

/// Class of a tool, and its numbers as the survey writes them.
type ToolOfSurvey = (
    &'static str,
    &'static str,
    [&'static str; 3],
    &'static str,
    [&'static str; 2],
);

/// Of agentcgroup's three models.
pub fn rows(path: &std::path::Path) -> Vec<Row> {
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
    // The survey gives prompts and contexts of the main batch.
    let batch = sources::stat_of(path, |session| {
        session.sid.starts_with("batch_swebench_18tasks/")
    });
    rows.row(&batch, "first_prompt_tokens", &[(50.0, "19.2k")], None, &[]);
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
        &batch,
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
    rows.add(
        "share of wall time that is waiting",
        "48%",
        haiku.idle_ratio.unwrap(),
    );
    let long = |stat: &Stat| gap(stat, GapClass::ToolOrMixed).long_share.unwrap();
    rows.add("share of tool gap time above 60 s", "52%", long(&haiku));
    let tools: [ToolOfSurvey; 11] = [
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
    rows.add(
        "share of wall time that is waiting",
        "50%",
        older.idle_ratio.unwrap(),
    );
    // The survey counts the waits of sub-agents here.
    let with_children = sources::stat(path, &["claude-haiku-3.5-cloud"], false);
    rows.survival(
        &with_children,
        GapClass::ToolOrMixed,
        &[".28", ".20", ".088", ".054", ".039", ".021", ".020", ".013"],
    );
    rows.add(
        "share of tool gap time above 60 s",
        "75%",
        long(&with_children),
    );
    rows.rows
}
