//! Lines of the decision log as sentences, with times relative to the beginning of the wait.

use crate::format::{bytes, plural, span};
use lab::timeline::LogLine;
use results::rows::TurnRow;
use std::fmt::Write as _;

/// A line about the session that is explained.
pub(super) struct Entry {
    pub at_ns: u64,
    pub turn: u32,
    pub what: String,
    /// Turns of other sessions, `(session, turn)`, that waited to be admitted when this one's KV was taken away.
    pub others: Vec<(u32, u32)>,
}

/// Actions that take KV away. They follow the session's own signal, or somebody else's need.
const TAKEN: [&str; 5] = ["release", "swap-out", "discard", "break-pin", "preempt"];

/// Turns that are named as causes at most.
const CAUSES_MAX: usize = 3;

impl Entry {
    pub(super) fn new(line: &LogLine<'_>) -> Self {
        Self {
            at_ns: line.at.0,
            turn: line.turn,
            what: line.what.to_owned(),
            others: Vec::new(),
        }
    }

    fn word(&self) -> &str {
        word(&self.what)
    }

    /// Whether it takes KV away.
    pub(super) fn takes(&self) -> bool {
        TAKEN.contains(&self.word())
    }
}

fn word(what: &str) -> &str {
    what.split(' ').next().unwrap_or_default()
}

/// Turns that are ready and not admitted, in the order in which they became so.
#[derive(Default)]
pub(super) struct Waiting(Vec<(u32, u32)>);

impl Waiting {
    pub(super) fn take_in(&mut self, line: &LogLine<'_>) {
        match word(line.what) {
            "ready" | "preempt" => self.0.push((line.session, line.turn)),
            "admit" => self.0.retain(|(session, _)| *session != line.session),
            _ => {}
        }
    }

    pub(super) fn others(&self, session: u32) -> Vec<(u32, u32)> {
        self.0
            .iter()
            .copied()
            .filter(|other| other.0 != session)
            .collect()
    }
}

/// Tells the story of one turn.
pub(super) struct Teller {
    /// The turn that is explained.
    pub turn: u32,
    /// Beginning of the wait before it, or its arrival.
    pub begin_ns: u64,
    /// Whether it follows a wait.
    pub waited: bool,
    pub block_bytes: u64,
}

impl Teller {
    pub(super) fn introduction(&self, turn: &TurnRow) -> String {
        let begin = span(self.begin_ns);
        match turn.wait_ns {
            Some(wait) => format!(
                "\nthe wait before it lasted {}; times count from its beginning, {begin} into the run\n",
                span(wait)
            ),
            None => format!(
                "\nit follows no wait; times count from its arrival, {begin} into the run\n"
            ),
        }
    }

    pub(super) fn tell(&self, entries: &[Entry]) -> String {
        let mut text = "\n".to_owned();
        for (index, entry) in entries.iter().enumerate() {
            let at = self.relative(entry.at_ns);
            let _ = writeln!(text, "{at:>12}  {}", self.sentence(entry));
            // What happens with the session's own signal or at its turn's end needs no other cause.
            let own = entries[..index].iter().any(|before| {
                before.at_ns == entry.at_ns && ["done", "io-wait", "end"].contains(&before.word())
            });
            if entry.takes() && !own {
                let _ = writeln!(text, "{:>12}  - {}", "", because(entry));
            }
        }
        text
    }

    /// A time of the run, counted from the beginning of the wait.
    fn relative(&self, at_ns: u64) -> String {
        let sign = if at_ns >= self.begin_ns { '+' } else { '-' };
        let away = at_ns.abs_diff(self.begin_ns);
        format!(
            "{sign}{}.{:06} s",
            away / 1_000_000_000,
            away % 1_000_000_000 / 1_000
        )
    }

    /// A time in the log's notation, `26.900000000`.
    fn relative_text(&self, text: &str) -> String {
        let line = format!("{text} s0 t0 x");
        LogLine::parse(&line).map_or_else(|| text.to_owned(), |line| self.relative(line.at.0))
    }

    fn blocks(&self, text: &str) -> String {
        text.parse::<u64>().map_or_else(
            |_| text.to_owned(),
            |blocks| {
                format!(
                    "{} ({})",
                    plural(blocks, "block"),
                    bytes(blocks * self.block_bytes)
                )
            },
        )
    }

    fn sentence(&self, entry: &Entry) -> String {
        let words: Vec<&str> = entry.what.split(' ').collect();
        match words[..] {
            ["start"] => "the session arrives".to_owned(),
            ["done"] if entry.turn == self.turn => "its last token is out".to_owned(),
            ["done"] => format!(
                "the last token of turn {} is out, and the wait begins",
                entry.turn
            ),
            ["io-wait"] => "IO_WAIT is delivered, with no hint of how long".to_owned(),
            ["io-wait", expected] => {
                format!(
                    "IO_WAIT is delivered; the return is expected at {}",
                    self.value(expected)
                )
            }
            ["io-wait", expected, early, late] => format!(
                "IO_WAIT is delivered; the return is expected at {}, between {} and {}",
                self.value(expected),
                self.value(early),
                self.value(late)
            ),
            ["signal-lost"] => {
                "IO_WAIT is lost: the scheduler does not learn of the wait".to_owned()
            }
            ["ready"] if self.waited => "COMPUTE is delivered: the turn is ready".to_owned(),
            ["ready"] => "the first request is delivered: the turn is ready".to_owned(),
            ["admit", hit, compute] => {
                let tokens = |text: &'_ str| text.split('=').next_back().unwrap_or(text).to_owned();
                format!(
                    "admitted: KV of {} tokens is in HBM, {} tokens are to be computed",
                    tokens(hit),
                    tokens(compute)
                )
            }
            ["prefetch-at", at] => format!("a prefetch is planned for {}", self.relative_text(at)),
            ["price", blocks, "at", price] => {
                format!(
                    "the prefix cache has {} of it at price {price}",
                    self.blocks(blocks)
                )
            }
            ["price", blocks, "at", price, "until", end] => format!(
                "the prefix cache has {} of it at price {price}, until {}",
                self.blocks(blocks),
                self.relative_text(end)
            ),
            [
                "copy-start",
                way @ ("disk-write" | "disk-read"),
                class,
                blocks,
            ] => {
                format!(
                    "{way} ({class}) of {} is given to the disk",
                    self.blocks(blocks)
                )
            }
            ["copy-start", direction, class, blocks] => {
                format!(
                    "{direction} copy ({class}) of {} is given to the link",
                    self.blocks(blocks)
                )
            }
            ["copy-end", way @ ("disk-write" | "disk-read"), blocks] => {
                format!("{way} is over: {} arrived", self.blocks(blocks))
            }
            ["copy-end", direction, blocks] => {
                format!("{direction} copy is over: {} arrived", self.blocks(blocks))
            }
            ["end"] => "END is delivered: the session is over".to_owned(),
            [action, outcome, blocks] => {
                format!(
                    "{}{} {}",
                    meaning(action),
                    outcome_of(outcome),
                    self.blocks(blocks)
                )
            }
            [action, outcome] => format!("{}{}", meaning(action), outcome_of(outcome)),
            _ => entry.what.clone(),
        }
    }

    /// The value of `key=value`, a time.
    fn value(&self, pair: &str) -> String {
        self.relative_text(pair.split('=').next_back().unwrap_or(pair))
    }
}

fn meaning(action: &str) -> &str {
    match action {
        "release" => {
            "release: the KV is left to the prefix cache, until its blocks are overwritten"
        }
        "keep" => "keep: the KV is held in HBM",
        "swap-out" => "swap-out: the KV leaves for the host",
        "discard" => "discard: the KV is dropped",
        "restore" => "restore of KV from the host",
        "prefetch" => "prefetch of KV from the host",
        "cancel" => "cancel: the copy under way is taken back",
        "break-pin" => {
            "break-pin: nothing else could proceed, and the engine ended the hold on the KV"
        }
        "drop-host" => "drop-host: what the host holds is given up",
        "demote" => "demote: what the host holds goes to the disk, and leaves the host",
        "store" => "store: what the host holds is copied to the disk",
        "promote" => "promote: what the disk holds is read to the host",
        "stop-disk" => "stop-disk: a read or write of the disk is taken back",
        "drop-disk" => "drop-disk: what the disk holds is given up",
        "preempt" => {
            "preempt: the running turn goes back to the queue and its KV to the prefix cache"
        }
        other => other,
    }
}

fn outcome_of(outcome: &str) -> &str {
    match outcome {
        "done" => ";",
        "clipped" => "; in part, the rest found no room;",
        "deferred" => "; put off to the next change",
        "void" => "; nothing was left to do, the state had changed",
        other => other,
    }
}

fn because(entry: &Entry) -> String {
    let named = entry.others.iter().take(CAUSES_MAX);
    let named: Vec<_> = named
        .map(|(session, turn)| format!("turn {turn} of session {session}"))
        .collect();
    match entry.others.len().saturating_sub(CAUSES_MAX) {
        _ if named.is_empty() => {
            "no turn was waiting to be admitted: a running turn or a prefetch needed blocks"
                .to_owned()
        }
        0 => format!(
            "waiting to be admitted at this instant: {}",
            named.join(", ")
        ),
        rest => format!(
            "waiting to be admitted at this instant: {} and {rest} more",
            named.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn teller() -> Teller {
        Teller {
            turn: 3,
            begin_ns: 10_000_000_000,
            waited: true,
            block_bytes: 2 << 20,
        }
    }

    fn sentence(what: &str) -> String {
        teller().sentence(&Entry {
            at_ns: 0,
            turn: 2,
            what: what.to_owned(),
            others: Vec::new(),
        })
    }

    #[test]
    fn times_count_from_the_beginning_of_the_wait() {
        assert_eq!(teller().relative(12_500_000_999), "+2.500000 s");
        assert_eq!(teller().relative(9_000_000_000), "-1.000000 s");
        assert_eq!(
            sentence("prefetch-at 26.900000000"),
            "a prefetch is planned for +16.900000 s"
        );
        assert!(sentence("io-wait expected=15.000000000").ends_with("expected at +5.000000 s"));
    }

    #[test]
    fn blocks_are_told_with_their_size() {
        // 132 blocks of 2 MiB.
        assert_eq!(
            sentence("keep done 132"),
            "keep: the KV is held in HBM; 132 blocks (264 MiB)"
        );
        assert!(sentence("copy-start H2D demand 1").contains("1 block (2.00 MiB)"));
        assert_eq!(
            sentence("copy-start disk-read demand 1"),
            "disk-read (demand) of 1 block (2.00 MiB) is given to the disk"
        );
        assert!(sentence("demote done 1").starts_with("demote: what the host holds goes to"));
    }

    #[test]
    fn prices_are_told_with_what_they_are_for_and_until_when() {
        assert_eq!(
            sentence("price 1 at -1"),
            "the prefix cache has 1 block (2.00 MiB) of it at price -1"
        );
        assert!(sentence("price 1 at 45 until 26.900000000").ends_with("until +16.900000 s"));
    }

    #[test]
    fn a_line_of_another_kind_is_passed_on_as_it_is() {
        assert_eq!(
            sentence("something new and longer than that"),
            "something new and longer than that"
        );
    }

    #[test]
    fn kv_that_leaves_by_the_sessions_own_signal_needs_no_other_cause() {
        let entry = |at_ns, what: &str| Entry {
            at_ns,
            turn: 2,
            what: what.to_owned(),
            others: vec![(7, 4)],
        };
        let told = |entries: &[Entry]| teller().tell(entries);
        assert!(
            !told(&[entry(5, "io-wait"), entry(5, "swap-out done 1")]).contains("waiting to be")
        );
        assert!(
            told(&[entry(5, "io-wait"), entry(6, "swap-out done 1")])
                .contains("instant: turn 4 of session 7\n")
        );
    }

    #[test]
    fn a_turn_waits_from_when_it_is_ready_until_it_is_admitted() {
        let mut waiting = Waiting::default();
        for line in [
            "1.000000000 s5 t0 ready",
            "2.000000000 s4 t1 ready",
            "3.000000000 s5 t0 admit hit=0 compute=1",
        ] {
            waiting.take_in(&LogLine::parse(line).expect("a line of a log"));
        }
        assert_eq!(waiting.others(0), [(4, 1)]);
        assert_eq!(waiting.others(4), []);
        waiting
            .take_in(&LogLine::parse("4.000000000 s5 t0 preempt done 3").expect("a line of a log"));
        assert_eq!(waiting.others(0), [(4, 1), (5, 0)]);
    }
}
