//! What a decision reads: no more waiting sessions when there are ten times as many, unless the policy's entry says so.
//!
//! The view counts what is read through it, so nothing here is timed. What a policy looks through among notes of its own is not counted until it
//! looks up a session; `cargo bench -p policy` times that.

#[path = "common/crowd.rs"]
mod crowd;
#[path = "common/questions.rs"]
mod questions;

use crowd::{Behind, Crowd, Return};
use model::{Plan, View};
use policy::{Policy, REGISTRY};
use questions::GROUPS;

/// What a policy reads in each situation and group of questions, among `live` sessions.
fn reads(live: u32, build: impl Fn(&Crowd) -> Box<dyn Policy>) -> Vec<(String, u64)> {
    let mut reads = Vec::new();
    for returns in Return::ALL {
        for behind in Behind::ALL {
            let crowd = Crowd::new(live, returns, behind);
            for group in GROUPS {
                let mut policy = build(&crowd);
                let view = crowd.view();
                (group.ask)(policy.as_mut(), &view);
                let case = format!("{}, return {returns:?}, {behind:?}", group.name);
                reads.push((case, view.reads()));
            }
        }
    }
    reads
}

#[test]
fn a_decision_reads_no_more_sessions_when_ten_times_as_many_wait_or_the_entry_says_so() {
    for entry in REGISTRY {
        let [few, many] = [200, 2_000].map(|live| reads(live, |crowd| crowd.policy(entry.name)));
        let pairs: Vec<_> = few.iter().zip(&many).collect();
        if entry.grows.is_empty() {
            for ((case, few), (_, many)) in pairs {
                assert!(
                    many <= few,
                    "{}: {case}: reads {few} sessions among 200, and {many} among 2,000; read fewer, or say what grows in its entry",
                    entry.name
                );
            }
        } else {
            let grown = pairs.iter().any(|((_, few), (_, many))| *many > 5 * few);
            assert!(
                grown,
                "{}: its entry says that its cost grows (\"{}\"), and nothing here shows it: {pairs:?}",
                entry.name, entry.grows
            );
        }
    }
}

/// Looks at everybody who waits in HBM, and at nothing else.
struct LooksAtAll;

impl Policy for LooksAtAll {
    fn plan(&self, view: &View<'_>) -> Plan {
        let pinned = view.idle_by_pin_end.iter();
        assert!(pinned.count() < view.sessions.len());
        Plan::default()
    }
}

#[test]
fn looking_at_everybody_shows() {
    let [few, many] = [200, 2_000].map(|live| reads(live, |_| Box::new(LooksAtAll)));
    for ((case, few), (_, many)) in few.into_iter().zip(many) {
        // Half of them wait in HBM, but for two of those that are asked about.
        let expected = if case.starts_with("step") {
            (98, 998)
        } else {
            (0, 0)
        };
        assert_eq!((few, many), expected, "{case}");
    }
}
