//! Step runs: order, length, cuts, wakes.

use super::rig::{Rig, equal};
use super::{Subject, Verdict};
use model::{Nanos, Time};

const STEPS: u32 = 7;

/// When each of a few decode steps ends, done one by one.
fn step_ends(subject: &Subject<'_>) -> Result<Vec<Time>, String> {
    let mut rig = Rig::new(subject)?;
    let origin = rig.now;
    (0..STEPS)
        .map(|step| {
            let op = rig.decode(1, u64::from(step) + 1_000, true);
            let end = rig.await_end(op)?.end;
            Ok(Time(end.since(origin).0))
        })
        .collect()
}

pub(super) fn runs_follow_each_other(subject: &Subject<'_>) -> Verdict {
    let mut rig = Rig::new(subject)?;
    let mut previous = rig.decode(3, 10, true);
    for _ in 0..4 {
        let queued = (subject.ahead > 0).then(|| (rig.decode(2, 10, true), rig.now));
        let end = rig.await_end(previous)?.end;
        let (next, submitted) = queued.unwrap_or_else(|| (rig.decode(2, 10, true), rig.now));
        let start = rig.await_end(next)?.start;
        // The rig knows that it did not start earlier.
        if subject.exact {
            equal(
                "the start of a run behind another",
                &start,
                &end.max(submitted),
            )?;
        }
        previous = rig.decode(3, 10, true);
    }
    rig.drain()
}

pub(super) fn a_run_is_the_sum_of_its_steps(subject: &Subject<'_>) -> Verdict {
    let ends = step_ends(subject)?;
    let mut rig = Rig::new(subject)?;
    let origin = rig.now;
    let op = rig.decode(STEPS, 1_000, true);
    for (expected, end) in (0..).zip(&ends) {
        // Just before a step's end it is not over, and at its end it is.
        for (time, over) in [(Time(end.0 - 1), expected), (*end, expected + 1)] {
            rig.await_time(origin + Nanos(time.0))?;
            equal("progress", &rig.device().progress(op), &over)?;
        }
    }
    rig.drain()
}

pub(super) fn a_cut_leaves_what_is_committed(subject: &Subject<'_>) -> Verdict {
    let ends = step_ends(subject)?;
    for at in [
        1,
        ends[0].0 - 1,
        ends[0].0,
        ends[0].0 + 1,
        ends[2].0,
        ends[2].0 + 1,
        ends[5].0 + 1,
    ] {
        let mut rig = Rig::new(subject)?;
        let origin = rig.now;
        let op = rig.decode(STEPS, 1_000, true);
        rig.await_time(origin + Nanos(at))?;
        // Step 0 begins at the start, step j when step j - 1 ends.
        let begun = 1 + ends.iter().filter(|end| end.0 < at).count() as u32;
        let committed = (begun + subject.ahead).min(STEPS);
        equal("a run cut", &rig.cut(op)?, &committed)?;
        equal("the same run cut again", &rig.cut(op)?, &committed)?;
        let end = rig.await_end(op)?.end.since(origin);
        equal(
            "the end of a cut run",
            &end,
            &Nanos(ends[committed as usize - 1].0),
        )?;
    }
    Ok(())
}

pub(super) fn a_cut_run_ends_as_it_was_cut(subject: &Subject<'_>) -> Verdict {
    let mut rig = Rig::new(subject)?;
    let op = rig.decode(1_000, 10, true);
    // Nothing has begun before this instant: what stays is one step, or those ahead.
    let committed = rig.cut(op)?;
    equal(
        "a run cut at its submission",
        &committed,
        &subject.ahead.max(1),
    )?;
    // The rig compares the units of the completion with the cut.
    rig.await_end(op).map(drop)
}

pub(super) fn some_runs_refuse_a_cut(subject: &Subject<'_>) -> Verdict {
    let mut rig = Rig::new(subject)?;
    let op = rig.decode(3, 10, false);
    equal("a run that is not cuttable, cut", &rig.cut(op)?, &3)?;
    rig.await_end(op).map(drop)
}

pub(super) fn the_driver_is_woken_for_the_last_step(subject: &Subject<'_>) -> Verdict {
    let ends = step_ends(subject)?;
    let mut rig = Rig::new(subject)?;
    let origin = rig.now;
    let op = rig.decode(STEPS, 1_000, true);
    if subject.ahead > 0 {
        let early = rig.wait(None)?;
        equal("completions when the last step begins", &early.len(), &0)?;
        equal(
            "the wake for the last step",
            &rig.now.since(origin),
            &Nanos(ends[STEPS as usize - 2].0),
        )?;
    }
    let done = rig.wait(None)?;
    equal(
        "the next wake's completions",
        &done.iter().map(|c| c.op).collect::<Vec<_>>(),
        &vec![op],
    )
}
