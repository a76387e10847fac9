//! Contexts on the host whose lease is over go first, whenever that is noticed; then those of low priority, then the oldest.

#[path = "common/crowd.rs"]
#[expect(
    dead_code,
    reason = "one situation is enough; the test that counts reads has all"
)]
mod crowd;

use crowd::{ASKED, Behind, Crowd, NOW, Return};
use model::{Blocks, Nanos, Phase, Residence, SessionId, Time};

#[test]
fn expired_leases_go_first_then_low_priorities_then_the_oldest() {
    let live = 400;
    let crowd = Crowd::new(live, Return::Far, Behind::FullHost);
    let policy = crowd.policy("uni-agent[lease_s=300]");
    // When the last of them was stored, and a minute later, with nothing in between.
    for later in [0, 60] {
        let now = NOW + Nanos(later * 1_000_000_000);
        let view = crowd.view_at(now);
        let everything = policy.host_victims(&view, Blocks(live * 64), ASKED);
        let mut expected: Vec<(bool, bool, Time, SessionId)> = (0..live)
            .map(SessionId)
            .filter(|&id| {
                let seen = view.session(id);
                (seen.phase, seen.residence) == (Phase::Idle, Residence::Host)
            })
            .map(|id| {
                let seen = view.session(id);
                let stored = seen.idle_since;
                let leased = now.since(stored) <= Nanos(300_000_000_000);
                // The result of a tool that was announced has priority 55, another 40, all else being equal.
                (leased, seen.signalled, stored, id)
            })
            .collect();
        expected.sort_unstable();
        let expected: Vec<_> = expected.into_iter().map(|(.., id)| id).collect();
        let given_up: Vec<_> = everything.iter().map(|release| release.session()).collect();
        assert_eq!(given_up, expected, "{later} s later");
        // 199 of them; a part of it, for a part of the need.
        let three = policy.host_victims(&view, Blocks(2 * 64 + 1), ASKED);
        assert_eq!(three, everything[..3], "{later} s later");
    }
}
