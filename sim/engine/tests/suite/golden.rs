//! The decision log of a run that a reader can follow, one per policy. `INSTA_UPDATE=always` blesses a change.
//!
//! Three sessions, 7 blocks of HBM, 8 of host memory. a and b hold 2 blocks each when c, which needs 5, arrives at 200 ms.

use crate::common::{Rig, session};
use policy::REGISTRY;

#[test]
fn decision_logs_are_as_blessed() {
    let a = session("a", 0, &[(0, 30, 3), (300, 10, 2)]);
    let b = session("b", 70, &[(0, 30, 3), (400, 10, 2)]);
    let c = session("c", 200, &[(0, 70, 3)]);
    let rig = Rig::new(7, 8, vec![a, b, c]);
    for entry in REGISTRY {
        let log = rig.run(entry.name);
        assert!(log.text.lines().count() < 60, "{}", entry.name);
        insta::assert_snapshot!(entry.name, log.text);
    }
}
