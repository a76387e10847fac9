//! Orders of small hosts, by hand.

use super::*;
use crate::memory::Lineages;
use model::{Eviction, Poll};

#[test]
fn turns_that_end_together_all_offer_before_the_first_counts_as_a_use() {
    let mut lineages = Lineages::default();
    let [a, b] = [0, 1].map(|_| Content::new(&mut lineages, &[], 16));
    let settings = Offload {
        eviction: Eviction::Lru,
        prompt_only: true,
        poll: Poll::Launch,
    };
    let (first, second) = (SessionId(0), SessionId(1));
    // A host of two blocks: a's first, then b's first.
    let mut tier = HostTier::new(settings, 2);
    for (session, content, places) in [(first, &a, [0]), (second, &b, [1])] {
        tier.begin(session);
        tier.offer(session, content, 1, &places);
        for job in tier.orders().stores {
            tier.complete(job);
        }
    }
    // Both turns end, b's with a second block. It takes the place of a's, which is the older one as long as the end of a's turn has not renewed it.
    tier.finish(first, &a, 1, &[0]);
    tier.finish(second, &b, 2, &[1, 2]);
    for job in tier.orders().stores {
        tier.complete(job);
    }
    tier.begin(first);
    tier.begin(second);
    assert_eq!(tier.find(first, &a, 0, 1), Found::Blocks(0));
    assert_eq!(tier.find(second, &b, 0, 2), Found::Blocks(2));
}
