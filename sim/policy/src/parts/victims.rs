//! Choosing victims from a sorted set of idle sessions.

use model::{Blocks, Release, SessionId, SessionView, Then, View};

/// Walks `candidates` and takes victims until they hold `need` blocks; `how` says how each leaves, `None` spares it.
pub(crate) fn take_until(
    view: &View<'_>,
    candidates: impl Iterator<Item = SessionId>,
    need: Blocks,
    mut how: impl FnMut(&SessionView, SessionId) -> Option<Then>,
) -> Vec<Release> {
    let mut victims = Vec::new();
    let mut found = 0;
    for session in candidates {
        if found >= need.0 {
            break;
        }
        let seen = view.session(session);
        if let Some(how) = how(seen, session) {
            found += seen.hbm_blocks.0;
            victims.push(Release { session, how });
        }
    }
    victims
}

/// To the host where it has room for `blocks`, else to the prefix cache. `promised` counts what earlier victims will fill.
pub(crate) fn host_or_cache(view: &View<'_>, promised: &mut u32, blocks: Blocks) -> Then {
    if *promised + blocks.0 <= view.host.free.0 {
        *promised += blocks.0;
        Then::SwapOut
    } else {
        Then::Release
    }
}

/// `candidates` in turn, until they hold `need` blocks: each to the host where it has room, else to the prefix cache.
pub(crate) fn to_host_until(
    view: &View<'_>,
    candidates: impl Iterator<Item = SessionId>,
    need: Blocks,
) -> Vec<Release> {
    let mut promised = 0;
    take_until(view, candidates, need, |seen, _| {
        Some(host_or_cache(view, &mut promised, seen.hbm_blocks))
    })
}

/// The longest idle, until they hold `need` blocks: each to the host where it has room, else to the prefix cache.
pub(crate) fn oldest_to_host(view: &View<'_>, need: Blocks) -> Vec<Release> {
    to_host_until(view, oldest_first(view), need)
}

/// Sessions that may be chosen as victims, the longest idle first.
pub(crate) fn oldest_first(view: &View<'_>) -> impl Iterator<Item = SessionId> {
    view.idle_by_age.iter().map(|(_, session)| session)
}
