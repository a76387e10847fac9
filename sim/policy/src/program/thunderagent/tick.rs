//! One tick of ThunderAgent's router: who is resumed, and who is paused.
//!
//! ```text
//!   remaining = capacity - (sum of tokens of active programs + 100 each)
//!   resume, shortest first, whoever still fits; then, if remaining < 0, pause: acting programs first, shortest first
//! ```
//!
//! **Peculiar, and kept:** a program that is paused while the tool of its first request runs counts as new, and goes before those whose tools of
//! later requests run. A program that reasons is only marked, to be paused when its call returns. Marks do not change `remaining`, so that
//! once no acting program is left, every reasoning one gets marked. Decay weighs acting programs less for resuming, never for pausing.

use model::SessionId;

/// A program that is not paused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Active {
    pub id: SessionId,
    pub tokens: u64,
    /// Seconds since its tool began; `None` while it reasons.
    pub acting_s: Option<f64>,
    /// To be paused when its call returns.
    pub marked: bool,
}

/// A program that is paused, or new and not let in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Paused {
    pub id: SessionId,
    pub tokens: u64,
    /// Smaller goes first.
    pub group: Group,
    /// Its tool still runs.
    pub acts: bool,
}

/// Whom a resume prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// A request of a later turn is withheld.
    Pending,
    /// It has made one request: that is withheld, or its tool still runs.
    New,
    /// Its tool still runs, after a later request.
    Acting,
}

/// What the tick came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub resume: Vec<SessionId>,
    /// Acting programs, paused at once.
    pub pause: Vec<SessionId>,
    /// Reasoning programs, paused when their calls return.
    pub mark: Vec<SessionId>,
}

/// What the router has to go by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Tokens that HBM holds.
    pub capacity: u64,
    /// Tokens set aside for each program.
    pub overhead: u64,
    /// Half-life of acting tokens for resuming, if they decay.
    pub half_life_s: Option<f64>,
}

/// One look at all programs.
pub(super) fn tick(rules: &Rules, active: &[Active], paused: &[Paused]) -> Outcome {
    let Rules {
        capacity,
        overhead,
        half_life_s,
    } = *rules;
    let mut outcome = Outcome::default();
    let weight = |program: &Active| match (half_life_s, program.acting_s) {
        (Some(half), Some(seconds)) => libm::exp2(-seconds / half),
        _ => 1.0,
    };
    let used: f64 = active
        .iter()
        .map(|program| program.tokens as f64 * weight(program) + overhead as f64)
        .sum();
    let mut room = capacity as f64 - used;
    let mut line = paused.to_vec();
    line.sort_by_key(|program| (program.group, program.tokens, program.id));
    // Who does not fit is passed over: a shorter program of a later group may.
    let fits = line.iter().filter(|program| {
        let needed = (program.tokens + overhead) as f64;
        let fits = needed <= room;
        if fits {
            room -= needed;
        }
        fits
    });
    let resumed: Vec<Paused> = fits.copied().collect();
    outcome
        .resume
        .extend(resumed.iter().map(|program| program.id));

    let charge = |tokens: u64| (tokens + overhead) as i128;
    let before: i128 = active.iter().map(|p| charge(p.tokens)).sum();
    let added: i128 = resumed.iter().map(|p| charge(p.tokens)).sum();
    let mut remaining = i128::from(capacity) - before - added;
    let back = resumed.iter().filter(|program| program.acts);
    let mut acting: Vec<(u64, SessionId)> = active
        .iter()
        .filter(|program| program.acting_s.is_some())
        .map(|program| (program.tokens, program.id))
        .chain(back.map(|program| (program.tokens, program.id)))
        .collect();
    acting.sort_unstable();
    for (tokens, id) in acting {
        if remaining >= 0 {
            return outcome;
        }
        remaining += charge(tokens);
        outcome.pause.push(id);
    }
    if remaining < 0 {
        let mut reasoning: Vec<_> = active
            .iter()
            .filter(|program| program.acting_s.is_none() && !program.marked)
            .map(|program| (program.tokens, program.id))
            .collect();
        reasoning.sort_unstable();
        outcome.mark.extend(reasoning.into_iter().map(|(_, id)| id));
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(id: u32, tokens: u64) -> Active {
        Active {
            id: SessionId(id),
            tokens,
            acting_s: None,
            marked: false,
        }
    }

    fn acts(id: u32, tokens: u64, seconds: f64) -> Active {
        Active {
            acting_s: Some(seconds),
            ..reasons(id, tokens)
        }
    }

    fn paused(id: u32, tokens: u64, group: Group) -> Paused {
        Paused {
            id: SessionId(id),
            tokens,
            group,
            acts: group == Group::Acting,
        }
    }

    fn rules(capacity: u64, half_life_s: Option<f64>) -> Rules {
        Rules {
            capacity,
            overhead: 100,
            half_life_s,
        }
    }

    fn ids(list: &[u32]) -> Vec<SessionId> {
        list.iter().copied().map(SessionId).collect()
    }

    #[test]
    fn the_shortest_acting_program_is_paused_first() {
        // 100,000 - 40,000 - 30,000 - 20,000 - 15,000 - 4·100 = -5,400; without the 15,000 and its 100 it is +9,700.
        let active = [
            reasons(0, 40_000),
            reasons(1, 30_000),
            acts(2, 20_000, 2.0),
            acts(3, 15_000, 0.5),
        ];
        let expected = Outcome {
            pause: ids(&[3]),
            ..Outcome::default()
        };
        assert_eq!(tick(&rules(100_000, None), &active, &[]), expected);
        // Without decay it is not resumed at the next tick: 9,700 < 15,100.
        let line = [paused(3, 15_000, Group::Acting)];
        assert_eq!(
            tick(&rules(100_000, None), &active[..3], &line),
            Outcome::default()
        );
    }

    #[test]
    fn with_decay_a_program_is_resumed_and_paused_in_one_tick() {
        // Five seconds later: 70,000 + 20,000/2^7 + 300 = 70,456, so there is room for 29,544 >= 15,100. Pausing counts in full: again -5,400.
        let active = [reasons(0, 40_000), reasons(1, 30_000), acts(2, 20_000, 7.0)];
        let line = [paused(3, 15_000, Group::Acting)];
        let expected = Outcome {
            resume: ids(&[3]),
            pause: ids(&[3]),
            mark: Vec::new(),
        };
        assert_eq!(tick(&rules(100_000, Some(1.0)), &active, &line), expected);
    }

    #[test]
    fn when_nobody_acts_everybody_who_reasons_is_marked() {
        let active = [
            reasons(0, 50_000),
            acts(1, 10_000, 1.0),
            reasons(2, 45_000),
            reasons(3, 47_000),
        ];
        let outcome = tick(&rules(100_000, None), &active, &[]);
        // 100,000 - 152,400 < 0; without the 10,100 it still is. Marks do not count, so all three follow, the shortest first.
        assert_eq!((outcome.pause, outcome.mark), (ids(&[1]), ids(&[2, 3, 0])));
    }

    #[test]
    fn pending_requests_go_before_new_ones_and_who_does_not_fit_is_passed_over() {
        let line = [
            paused(0, 1_000, Group::Acting),
            paused(1, 5_000, Group::New),
            paused(2, 9_000, Group::Pending),
            paused(3, 100, Group::New),
        ];
        // Room 15,000: 9,100 for session 2, 200 for 3, then 5,100 for 1 leave 600: too little for session 0.
        assert_eq!(
            tick(&rules(15_000, None), &[], &line).resume,
            ids(&[2, 3, 1])
        );
        // Room 7,000 is too little for session 2; 200 for 3 and 5,100 for 1 leave 1,700, and 1,100 of it are for session 0.
        assert_eq!(
            tick(&rules(7_000, None), &[], &line).resume,
            ids(&[3, 1, 0])
        );
    }

    #[test]
    fn a_new_program_whose_tool_runs_is_resumed_as_new_and_paused_as_acting() {
        let new = Paused {
            acts: true,
            ..paused(2, 4_000, Group::New)
        };
        let line = [paused(1, 3_000, Group::Acting), new];
        // Room for one of the two, 100,000 - 95,100 = 4,900: session 2 goes first, though it is longer; 800 are left.
        let active = [reasons(0, 95_000)];
        let outcome = tick(&rules(100_000, None), &active, &line);
        assert_eq!((outcome.resume, outcome.pause), (ids(&[2]), ids(&[])));
        // With decay, 60,000 tokens that have acted for ten seconds count 59 for resuming: both fit, with 1,541 to spare. In full, 60,000 and 7,000
        // and 100 for each are too many: the shortest that act are paused until the rest fits.
        let active = [reasons(0, 91_000), acts(3, 60_000, 10.0)];
        let outcome = tick(&rules(100_000, Some(1.0)), &active, &line);
        assert_eq!(
            (outcome.resume, outcome.pause),
            (ids(&[2, 1]), ids(&[1, 2, 3]))
        );
    }
}
