//! `tables.md`: what several recordings come to, for readers.

mod missed;
mod tails;

use super::closed::{DISTANCE, MISSED, Pair, Quantity};
use super::middle;
use super::rank::{RANKED, RankRow};
use super::rows::{ClosedLoopRow, OperationsRow, PolicyRow};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use tails::Tail;

/// What readers call the kinds of operations.
const KINDS: [&str; 5] = [
    "decode steps",
    "mixed steps",
    "prefill steps",
    "copies D2H",
    "copies H2D",
];
/// The median error of single operations that is aimed at.
const OPEN_TARGET: f64 = 0.02;
/// Simulations of one spec that differ by more than this share, in the median wake-up, disagree.
const DISAGREE: f64 = 0.03;
/// What tables of whole runs have.
const COLUMNS: [(Quantity, &str); 4] = [
    (Quantity::WakeupP50, "P50 wake-up, ms"),
    (Quantity::JctMean, "mean JCT, s"),
    (Quantity::Swaps, "swaps"),
    (Quantity::Restores, "restores"),
];
/// More swapped pairs than these are counted, and `ranking.csv` names them.
const NAMED_MOST: usize = 4;

/// What a recording comes to.
#[derive(Clone, Debug)]
pub struct Summary {
    name: String,
    kernels: String,
    operations: Vec<OperationsRow>,
    closed: Vec<ClosedLoopRow>,
    ranked: Vec<RankRow>,
    /// By policy, how the wake-ups around the median differ.
    middles: BTreeMap<String, [f64; 7]>,
    tails: Vec<Tail>,
    /// Simulations of each spec.
    simulations: usize,
}

impl Summary {
    /// Of the tables of a recording, made with `kernels`.
    pub fn new(
        name: &str,
        kernels: &str,
        operations: &[OperationsRow],
        closed: &[ClosedLoopRow],
        ranked: &[RankRow],
        pairs: &[Pair],
    ) -> Self {
        Self {
            name: name.to_owned(),
            kernels: kernels.to_owned(),
            operations: operations.to_vec(),
            closed: closed.to_vec(),
            ranked: ranked.to_vec(),
            middles: pairs
                .iter()
                .filter_map(|pair| Some((pair.policy.clone(), middle::difference(pair)?)))
                .collect(),
            tails: pairs.iter().filter_map(Tail::of).collect(),
            simulations: pairs
                .iter()
                .map(|pair| 1 + pair.drawn.len() + pair.again.len())
                .max()
                .unwrap_or(0),
        }
    }

    /// Its whole runs beside those of other recordings; it ran `load`.
    pub fn policies(&self, load: &str) -> impl Iterator<Item = PolicyRow> {
        let row = move |row| PolicyRow::of(load, &self.name, row);
        self.closed.iter().map(row)
    }

    fn rows(&self, quantity: &'static str) -> impl Iterator<Item = &ClosedLoopRow> {
        self.closed
            .iter()
            .filter(move |row| row.quantity == quantity)
    }

    fn row(&self, policy: &str, quantity: &'static str) -> Option<&ClosedLoopRow> {
        self.rows(quantity).find(|row| row.policy == policy)
    }

    /// Policies with more than one measured run, by their median wake-up.
    fn repeated(&self) -> Vec<&ClosedLoopRow> {
        let rows = self.rows(Quantity::WakeupP50.name());
        let mut rows: Vec<_> = rows.filter(|row| row.repeats > 1).collect();
        rows.sort_by(|a, b| a.measured.total_cmp(&b.measured));
        rows
    }
}

/// The text; recordings of the latest kernels come first.
pub fn markdown(recordings: &[Summary]) -> String {
    let mut text = "# Simulator against GPU: tables\n\nMade by `cargo djinn revalidate --update` from the recordings beside this file; \
         nothing is typed in. An error is simulated / measured - 1; **bold**: beyond its target and, for whole runs, beyond what those of the GPU differ by.\n"
        .to_owned();
    open(&mut text, recordings);
    met(&mut text, recordings);
    for recording in recordings {
        whole(&mut text, recording);
    }
    tails::tails(&mut text, recordings);
    tails::short_tails(&mut text, recordings);
    missed::missed(&mut text, recordings);
    spans(&mut text, recordings);
    ranking(&mut text, recordings);
    text
}

fn heading<S: AsRef<str>>(text: &mut String, cells: &[S]) {
    line(text, cells);
    let _ = writeln!(text, "|{}", "---|".repeat(cells.len()));
}

/// A row of a table.
fn line<S: AsRef<str>>(text: &mut String, cells: &[S]) {
    for cell in cells {
        let _ = write!(text, "| {} ", cell.as_ref());
    }
    text.push_str("|\n");
}

fn code(name: &str) -> String {
    format!("`{name}`")
}

fn emphasised(text: String, missed: bool) -> String {
    if missed { format!("**{text}**") } else { text }
}

/// Recordings of the same kernels, those of the latest first.
fn by_kernels(recordings: &[Summary]) -> impl Iterator<Item = &[Summary]> {
    recordings.chunk_by(|a, b| a.kernels == b.kernels)
}

fn open(text: &mut String, recordings: &[Summary]) {
    let _ = write!(
        text,
        "\n## Single operations (open loop)\n\nMedian of the absolute error, and the bias; {:.0} % is aimed at.\n",
        OPEN_TARGET * 100.0
    );
    for group in by_kernels(recordings) {
        let mut cells = vec![format!("kernels: {}", group[0].kernels)];
        cells.extend(group.iter().map(|recording| code(&recording.name)));
        text.push('\n');
        heading(text, &cells);
        for (kind, title) in OperationsRow::KINDS.into_iter().zip(KINDS) {
            let mut cells = vec![title.to_owned()];
            for recording in group {
                let found = recording.operations.iter().find(|row| row.kind == kind);
                cells.push(found.map_or("none".to_owned(), |error| {
                    let median = format!("{:.1} %", error.p50 * 100.0);
                    let median = emphasised(median, error.p50 > OPEN_TARGET);
                    format!("{median} ({})", signed(error.bias))
                }));
            }
            line(text, &cells);
        }
    }
}

/// Per cent with a sign; zero has none.
fn signed(share: f64) -> String {
    let text = format!("{:+.1}", share * 100.0);
    if &text[1..] == "0.0" {
        "0.0".to_owned()
    } else {
        text
    }
}

fn met(text: &mut String, recordings: &[Summary]) {
    text.push_str(
        "\n## Whole runs (closed loop): policies that meet each target\n\n\
         Repeated: policies with two runs or more of the GPU, met within the target or within what these runs differ by. Single: one run, met within the target. \
         Policies that swap nothing, simulated and measured, do not count for swaps, nor for restores those that restore nothing.\n\n",
    );
    let mut cells = vec!["recording".to_owned()];
    for kind in ["repeated", "single"] {
        cells.extend(COLUMNS.map(|(_, title)| {
            let title = title.split(',').next().unwrap_or(title);
            format!("{kind}: {title}")
        }));
    }
    heading(text, &cells);
    let mut totals = [[0; 2]; 8];
    let mut counted = |name: String, counts: Met| {
        let mut cells = vec![name];
        cells.extend(counts.map(|[met, all]| match all {
            0 => String::new(),
            _ => format!("{met} of {all}"),
        }));
        line(text, &cells);
    };
    for group in by_kernels(recordings) {
        let mut of_group = [[0_usize; 2]; 8];
        for recording in group {
            let counts = met_by(recording);
            add(&mut of_group, counts);
            counted(code(&recording.name), counts);
        }
        counted(format!("all, kernels: {}", group[0].kernels), of_group);
        add(&mut totals, of_group);
    }
    counted("all".to_owned(), totals);
}

/// Met, and all, by column: policies that ran repeatedly, then those that ran once.
type Met = [[usize; 2]; 8];

fn met_by(recording: &Summary) -> Met {
    let mut counts = [[0; 2]; 8];
    for (place, (quantity, _)) in COLUMNS.iter().enumerate() {
        for row in recording.rows(quantity.name()).filter(|row| !never(row)) {
            let at = place + if row.repeats > 1 { 0 } else { COLUMNS.len() };
            add_to(&mut counts[at], [usize::from(row.met()), 1]);
        }
    }
    counts
}

fn add_to(total: &mut [usize; 2], own: [usize; 2]) {
    for (total, own) in total.iter_mut().zip(own) {
        *total += own;
    }
}

fn add(totals: &mut Met, own: Met) {
    for (total, own) in totals.iter_mut().zip(own) {
        add_to(total, own);
    }
}

fn whole(text: &mut String, recording: &Summary) {
    let repeated = recording.repeated();
    if repeated.is_empty() {
        return;
    }
    let _ = write!(
        text,
        "\n### `{}`, policies that ran more than once\n\nSimulated (least to most of the draws) / mean of the GPU (least to most of its runs).\n\n",
        recording.name
    );
    let titles = COLUMNS.map(|(_, title)| title.to_owned());
    let mut cells = vec!["policy".to_owned(), "runs".to_owned()];
    cells.extend(titles);
    cells.push("distance of the distributions of wake-ups, and of two runs".to_owned());
    heading(text, &cells);
    for row in repeated {
        let mut cells = vec![row.policy.clone(), row.repeats.to_string()];
        for (quantity, _) in COLUMNS {
            let found = recording.row(&row.policy, quantity.name());
            cells.push(found.map_or("none".to_owned(), |row| whole_cell(quantity, row)));
        }
        let distance = recording.row(&row.policy, DISTANCE);
        cells.push(distance.map_or(String::new(), |row| {
            format!("{:.2}, {:.2}", row.simulated, row.measured)
        }));
        line(text, &cells);
    }
}

/// Whether there is nothing of it, simulated and measured.
fn never(row: &ClosedLoopRow) -> bool {
    row.simulated == 0.0 && row.measured_max == 0.0
}

fn whole_cell(quantity: Quantity, row: &ClosedLoopRow) -> String {
    let shown = |value: f64| match quantity {
        Quantity::WakeupP50 if value >= 1e8 => format!("{:.0}", value / 1e6),
        Quantity::WakeupP50 => format!("{:.1}", value / 1e6),
        Quantity::JctMean => format!("{:.2}", value / 1e9),
        _ => format!("{value:.0}"),
    };
    if never(row) {
        return "none".to_owned();
    }
    let range = |least: f64, most: f64| match [least, most].map(shown) {
        [least, most] if least == most => format!("({least})"),
        [least, most] => format!("({least} to {most})"),
    };
    let mut text = emphasised(shown(row.simulated), row.verdict == MISSED);
    if let Some((least, most)) = row.drawn_min.zip(row.drawn_max) {
        let _ = write!(text, " {}", range(least, most));
    }
    let measured = range(row.measured_min, row.measured_max);
    format!("{text} / {} {measured}", shown(row.measured))
}

fn spans(text: &mut String, recordings: &[Summary]) {
    let several: Vec<_> = recordings
        .iter()
        .filter(|recording| recording.simulations > 1)
        .collect();
    if several.is_empty() {
        return;
    }
    let _ = write!(
        text,
        "\n## How far one simulation carries\n\nP50 wake-up by draws of the jitter, and by calibrations of like cards: policies whose simulations differ by more than {:.0} %, and \
         those of which some run of the GPU is within {:.0} % of what the simulations span.\n\n",
        DISAGREE * 100.0,
        DISAGREE * 100.0
    );
    let cells = [
        "recording",
        "simulations",
        "policies",
        "simulations differ",
        "a run of the GPU is near them",
        "none is",
    ];
    heading(text, &cells);
    for recording in several {
        let rows: Vec<_> = recording.rows(Quantity::WakeupP50.name()).collect();
        let differ =
            |row: &&&ClosedLoopRow| row.simulated_max > row.simulated_min * (1.0 + DISAGREE);
        let near = |row: &&ClosedLoopRow| {
            row.measured_max >= row.simulated_min * (1.0 - DISAGREE)
                && row.measured_min <= row.simulated_max * (1.0 + DISAGREE)
        };
        let (within, outside): (Vec<_>, Vec<_>) = rows.iter().copied().partition(near);
        let outside: Vec<&str> = outside.iter().map(|row| row.policy.as_str()).collect();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} |",
            recording.name,
            recording.simulations,
            rows.len(),
            rows.iter().filter(differ).count(),
            within.len(),
            outside.join(", ")
        );
    }
}

fn ranking(text: &mut String, recordings: &[Summary]) {
    text.push_str(
        "\n## Ranking\n\nPairs of policies whose measured difference excludes 0 (95 %, over sessions) and whose runs do not overlap, and those of them that the simulation orders the other way: by the medians of its draws. Of the separated pairs those whose draws do not overlap either are decided in both; contradicted, if in opposite ways.\n\n",
    );
    let cells = [
        "recording",
        "by",
        "policies",
        "Kendall's tau",
        "separated",
        "swapped",
        "decided",
        "contradicted",
    ];
    heading(text, &cells);
    let titles = ["P50 wake-up", "mean wake-up", "P99 wake-up", "mean JCT"];
    for (quantity, title) in RANKED.into_iter().zip(titles) {
        let (mut separated, mut swapped) = (0, 0);
        let (mut decided, mut contradicted) = (0, 0);
        for recording in recordings {
            for row in recording
                .ranked
                .iter()
                .filter(|row| row.quantity == quantity.name())
            {
                let pairs: Vec<&str> = row.swapped_pairs().collect();
                separated += row.separated;
                swapped += pairs.len();
                decided += row.decided;
                contradicted += row.contradicted;
                let named = if pairs.is_empty() || pairs.len() > NAMED_MOST {
                    String::new()
                } else {
                    format!(": {}", pairs.join(", "))
                };
                let _ = writeln!(
                    text,
                    "| `{}` | {title} | {} | {} | {} | {}{named} | {} | {} |",
                    recording.name,
                    row.policies,
                    row.tau.map_or("-".to_owned(), |tau| format!("{tau:.2}")),
                    row.separated,
                    pairs.len(),
                    row.decided,
                    row.contradicted
                );
            }
        }
        let _ = writeln!(
            text,
            "| all | {title} | | | {separated} | {swapped} | {decided} | {contradicted} |"
        );
    }
}
