//! The simulated device against sums by hand, and against itself one step at a time.

use super::*;
use crate::{Jitter, Sustained, Throttle};
use engine::device::{CopyClass, CopyRun, PrefillChunk, StepPhase, StepRun, StepShape};
use model::{Bytes, SessionId};
use proptest::prelude::*;
use std::num::NonZeroU64;

/// 1,000 ns a step and 10 ns per KV token.
fn steps() -> StepCost {
    StepCost::linear(1_000_000, 100_000, 0, 10_000)
}

/// 1 B/ns each way, 100 ns a chunk; a step takes half as long again while D2H is busy, twice as long beside H2D.
fn link() -> LinkCost {
    let lane = |slowdown_ppm| crate::LaneCost {
        copy_ns: 100,
        block_ns: 0,
        bytes_per_s: NonZeroU64::new(1_000_000_000).unwrap(),
        bytes_per_s_shared: NonZeroU64::new(500_000_000).unwrap(),
        slowdown_ppm,
        beside_steps_ppm: 0,
    };
    LinkCost::new(lane(500_000), lane(1_000_000))
}

fn device(ahead: u32) -> SimDevice {
    SimDevice::new(steps(), &link(), ahead)
}

fn decode(id: u64, steps: u32, kv: u64) -> Op {
    let shape = StepShape {
        decode_seqs: 1,
        decode_kv_tokens: kv,
        ..StepShape::default()
    };
    Op::Steps(StepRun {
        id: OpId(id),
        phases: vec![StepPhase { shape, steps }],
        cuttable: true,
    })
}

fn copy(id: u64, direction: Direction, blocks: u32) -> Op {
    Op::Copy(CopyRun {
        id: OpId(id),
        session: SessionId(0),
        direction,
        class: CopyClass::Demand,
        block_count: blocks,
        chunk_blocks: 1,
        block_bytes: Bytes(900),
        blocks: Vec::new(),
    })
}

fn wait(device: &mut SimDevice, until: Option<u64>) -> (u64, Vec<(u64, u64, u64, u32)>) {
    let mut done = Vec::new();
    let now = device.wait(until.map(Time), &mut done);
    (
        now.0,
        done.into_iter()
            .map(|c| (c.op.0, c.start.0, c.end.0, c.units))
            .collect(),
    )
}

#[test]
fn a_decode_run_is_the_sum_of_its_steps() {
    let mut device = device(0);
    device.submit(decode(1, 3, 5));
    // 1,050 + 1,060 + 1,070.
    assert_eq!(wait(&mut device, None), (3_180, vec![(1, 0, 3_180, 3)]));
}

#[test]
fn a_step_that_finds_the_gpu_idle_begins_late_and_after_a_pause_takes_longer() {
    let idle = crate::IdleCost {
        dispatch_ns: 100,
        pause_ns: 1_000,
        longer_ns: 300,
    };
    let cost = StepCost { idle, ..steps() };
    let mut device = SimDevice::new(cost, &link(), 1);
    // Idle since ever: it starts at 100, and takes 300 + 1,050. The driver hears when it has begun in earnest.
    device.submit(decode(1, 1, 5));
    assert_eq!(wait(&mut device, None), (400, vec![]));
    // Submitted while it runs: no gap.
    device.submit(decode(2, 1, 5));
    assert_eq!(wait(&mut device, None), (1_450, vec![(1, 100, 1_450, 1)]));
    assert_eq!(wait(&mut device, None), (2_500, vec![(2, 1_450, 2_500, 1)]));
    // 999 ns later it is late only; cut to what has begun before anything has.
    assert_eq!(wait(&mut device, Some(3_499)), (3_499, vec![]));
    device.submit(decode(3, 9, 5));
    assert_eq!(device.cut(OpId(3)), 1);
    assert_eq!(wait(&mut device, None).0, 3_599);
    assert_eq!(wait(&mut device, None), (4_649, vec![(3, 3_599, 4_649, 1)]));
    // A thousand later it takes longer as well.
    assert_eq!(wait(&mut device, Some(5_649)), (5_649, vec![]));
    device.submit(decode(4, 2, 5));
    // 5,749 + 300 + 1,050; the last step begins there.
    assert_eq!(wait(&mut device, None), (7_099, vec![]));
    let end = 7_099 + 1_060;
    assert_eq!(wait(&mut device, None), (end, vec![(4, 5_749, end, 2)]));
}

#[test]
fn a_serial_run_is_a_prefill_and_its_decode_steps_and_refuses_a_cut() {
    let mut device = device(0);
    let prefill = StepShape {
        prefill: vec![PrefillChunk {
            tokens: 4,
            context: 0,
        }],
        ..StepShape::default()
    };
    let decode = StepShape {
        decode_seqs: 1,
        decode_kv_tokens: 5,
        ..StepShape::default()
    };
    device.submit(Op::Steps(StepRun {
        id: OpId(1),
        phases: vec![
            StepPhase {
                shape: prefill,
                steps: 1,
            },
            StepPhase {
                shape: decode,
                steps: 2,
            },
        ],
        cuttable: false,
    }));
    // Prefill: 1,000 + 4 x 100 + 4 x 10 = 1,440. Decode: 1,050 + 1,060.
    assert_eq!(wait(&mut device, Some(1_440)), (1_440, vec![]));
    assert_eq!((device.progress(OpId(1)), device.cut(OpId(1))), (1, 3));
    assert_eq!(wait(&mut device, Some(2_600)), (2_600, vec![]));
    assert_eq!(device.progress(OpId(1)), 2);
    assert_eq!(wait(&mut device, None), (3_550, vec![(1, 0, 3_550, 3)]));
}

#[test]
fn a_cut_leaves_the_steps_that_have_begun() {
    for (now, committed, end) in [
        (1, 1, 1_050),
        (1_050, 1, 1_050),
        (1_051, 2, 2_110),
        (2_110, 2, 2_110),
    ] {
        let mut device = device(0);
        device.submit(decode(1, 9, 5));
        assert_eq!(wait(&mut device, Some(now)), (now, vec![]));
        assert_eq!(device.cut(OpId(1)), committed, "at {now}");
        assert_eq!(
            wait(&mut device, None),
            (end.max(now), vec![(1, 0, end, committed)])
        );
    }
}

#[test]
fn a_device_that_stays_ahead_keeps_one_step_more() {
    for (now, committed, end) in [(1, 2, 2_110), (1_050, 2, 2_110), (1_051, 3, 3_180)] {
        let mut device = device(1);
        device.submit(decode(1, 9, 5));
        assert_eq!(wait(&mut device, Some(now)), (now, vec![]));
        assert_eq!(device.cut(OpId(1)), committed, "at {now}");
        let begins = end - 1_050 - 10 * (u64::from(committed) - 1);
        assert_eq!(
            wait(&mut device, None),
            (begins, vec![]),
            "woken for the last step"
        );
        assert_eq!(wait(&mut device, None), (end, vec![(1, 0, end, committed)]));
    }
}

#[test]
fn ahead_the_driver_is_woken_once_when_the_last_step_begins() {
    let mut device = device(1);
    device.submit(decode(1, 2, 5));
    assert_eq!(wait(&mut device, None), (1_050, vec![]));
    device.submit(decode(2, 1, 5));
    // Behind the second run nothing is queued, and its only step begins as the first run ends: one wake for both.
    assert_eq!(wait(&mut device, None), (2_110, vec![(1, 0, 2_110, 2)]));
    assert_eq!(wait(&mut device, None), (3_160, vec![(2, 2_110, 3_160, 1)]));
    // A run of one step begins it at once.
    device.submit(decode(3, 1, 5));
    assert_eq!(wait(&mut device, None), (3_160, vec![]));
    assert_eq!(wait(&mut device, None), (4_210, vec![(3, 3_160, 4_210, 1)]));
}

#[test]
fn a_run_that_waits_behind_another_keeps_one_step_when_cut() {
    let mut device = device(1);
    device.submit(decode(1, 2, 5));
    device.submit(decode(2, 4, 5));
    assert_eq!(wait(&mut device, Some(1_500)), (1_500, vec![]));
    assert_eq!((device.progress(OpId(2)), device.cut(OpId(2))), (0, 1));
    assert_eq!(wait(&mut device, None), (2_110, vec![(1, 0, 2_110, 2)]));
    assert_eq!(wait(&mut device, None), (3_160, vec![(2, 2_110, 3_160, 1)]));
}

#[test]
fn steps_that_begin_while_a_lane_is_busy_take_longer() {
    let mut device = device(0);
    device.submit(decode(1, 4, 0));
    assert_eq!(wait(&mut device, Some(500)), (500, vec![]));
    // 900 B and 100 ns: busy from 500 to 1,500. The first step has begun and keeps its 1,000 ns; the second begins at
    // 1,000 and takes 1.5 x 1,010 = 1,515; the third and fourth 1,020 and 1,030.
    device.submit(copy(2, Direction::D2h, 1));
    assert_eq!(wait(&mut device, None), (1_500, vec![(2, 500, 1_500, 1)]));
    assert_eq!(device.progress(OpId(1)), 1);
    assert_eq!(wait(&mut device, None), (4_565, vec![(1, 0, 4_565, 4)]));
}

#[test]
fn slow_downs_by_both_lanes_add_up_and_a_step_that_begins_now_sees_what_is_submitted_now() {
    let mut device = device(0);
    device.submit(decode(1, 2, 0));
    device.submit(copy(2, Direction::D2h, 9));
    device.submit(copy(3, Direction::H2d, 9));
    // 2.5 x 1,000 + 2.5 x 1,010.
    assert_eq!(wait(&mut device, None), (5_025, vec![(1, 0, 5_025, 2)]));
}

#[test]
fn completions_of_one_instant_are_ordered_by_number() {
    let mut device = device(0);
    device.submit(copy(7, Direction::H2d, 1));
    device.submit(copy(5, Direction::D2h, 1));
    // Both at 0.5 B/ns: 100 + 1,800.
    assert_eq!(
        wait(&mut device, None),
        (1_900, vec![(5, 0, 1_900, 1), (7, 0, 1_900, 1)])
    );
    assert_eq!((device.progress(OpId(7)), device.cut(OpId(5))), (1, 1));
    assert_eq!(device.lane_busy(Direction::D2h), Nanos(1_900));
}

#[test]
fn a_completion_at_the_time_waited_for_is_delivered() {
    let mut device = device(0);
    device.submit(decode(1, 1, 0));
    assert_eq!(
        wait(&mut device, Some(1_000)),
        (1_000, vec![(1, 0, 1_000, 1)])
    );
    assert_eq!(
        wait(&mut device, Some(400)),
        (1_000, vec![]),
        "time never goes back"
    );
}

#[test]
#[should_panic(expected = "a wait without end")]
fn waiting_for_nothing_is_a_bug() {
    device(0).wait(None, &mut Vec::new());
}

#[test]
#[should_panic(expected = "operation 3 is neither in flight nor completed by the last wait")]
fn the_progress_of_an_unknown_operation_is_a_bug() {
    device(1).progress(OpId(3));
}

#[test]
#[should_panic(expected = "step run 2 is one more than may be in flight")]
fn a_second_run_without_scheduling_ahead_is_a_bug() {
    let mut device = device(0);
    device.submit(decode(1, 1, 0));
    device.submit(decode(2, 1, 0));
}

#[test]
fn steps_differ_by_what_was_drawn_and_a_run_of_them_by_one_factor() {
    let jitter = Jitter {
        prompt_ppm: 200_000,
        decode_ppm: 100_000,
    };
    let cost = StepCost { jitter, ..steps() };
    let times = |draw: u32| {
        let mut device = SimDevice::new(cost.clone(), &link(), 0).with_jitter(draw);
        let runs = [prompt(1, 20), decode(2, 1, 0), decode(3, 4, 0)];
        runs.map(|run| {
            let begun = device.now();
            device.submit(run);
            wait(&mut device, None);
            device.now().since(begun).0
        })
    };
    // Where none is drawn: 1,000 + 20 x 100 + 20 x 10.
    let mut none = SimDevice::new(cost.clone(), &link(), 0).with_jitter(0);
    none.submit(prompt(1, 20));
    assert_eq!(wait(&mut none, None).0, 3_200);
    for draw in [1, 2] {
        let factor = |op, prompts| jitter.factor_ppm(draw, OpId(op), prompts);
        let costs = [
            (1, true, 3_200),
            (2, false, times(0)[1]),
            (3, false, times(0)[2]),
        ];
        for (took, (op, prompts, cost)) in times(draw).into_iter().zip(costs) {
            let expected = cost * factor(op, prompts) / 1_000_000;
            // Each step is rounded down to a nanosecond.
            assert!(
                took.abs_diff(expected) <= 4 && took != cost,
                "{took} {expected}"
            );
        }
    }
    assert_ne!(times(1), times(2));
}

/// A card that is under full load after some ten microseconds of prompts, and takes 64 % longer for steps then.
fn throttle() -> Throttle {
    Throttle {
        half_life_ns: 4_000,
        full_tokens: 10,
        prompt_ppm: 1_600_000,
        decode_ppm: 640_000,
        ..Throttle::default()
    }
}

fn prompt(id: u64, tokens: u32) -> Op {
    let context = 0;
    Op::Steps(StepRun {
        id: OpId(id),
        phases: vec![StepPhase {
            shape: StepShape {
                prefill: vec![PrefillChunk { tokens, context }],
                ..StepShape::default()
            },
            steps: 1,
        }],
        cuttable: true,
    })
}

#[test]
fn steps_behind_prompts_take_longer_and_less_so_from_step_to_step() {
    let cost = StepCost {
        throttle: throttle(),
        ..steps()
    };
    let mut device = SimDevice::new(cost, &link(), 0);
    // 1,000 + 20 x 100 + 20 x 10 on a rested card, 0.8 half-lives: 0.2324 of the full load on the average, +37.2 %. The load after it: 1.0973
    // half-lives of full load, 0.5326.
    device.submit(prompt(1, 20));
    assert_eq!(wait(&mut device, None), (4_389, vec![(1, 0, 4_389, 1)]));
    // What is missing of full load, 0.4674, is 0.7676 of that on the average: +102.6 %. 1.6208 half-lives more: 1 - 0.4674 x 0.3252.
    device.submit(prompt(2, 20));
    let end = 4_389 + 6_482;
    assert_eq!(wait(&mut device, None), (end, vec![(2, 4_389, end, 1)]));
    // 0.848, level 27: +54 %, 1,540. Then 0.848 x 0.7658 = 0.649, level 21: +42 % of 1,010.
    device.submit(decode(3, 2, 0));
    let (start, end) = (end, end + 1_540 + 1_434);
    assert_eq!(wait(&mut device, None), (end, vec![(3, start, end, 2)]));
    // After ten half-lives it has rested.
    assert_eq!(wait(&mut device, Some(end + 40_000)).0, end + 40_000);
    device.submit(decode(4, 1, 0));
    assert_eq!(wait(&mut device, None).0, end + 41_000);
}

/// The same card with a limit below which it keeps its clock, and with load that lasts.
fn limited() -> Throttle {
    Throttle {
        light_tokens: 4,
        from_ppm: 300_000,
        sustained: Sustained {
            half_life_ns: 20_000,
            from_ppm: 100_000,
            prompt_ppm: 400_000,
        },
        ..throttle()
    }
}

#[test]
fn a_prompt_queued_behind_another_begins_under_its_load() {
    let cost = StepCost {
        throttle: limited(),
        ..steps()
    };
    let spans = |ahead: u32| {
        let mut device = SimDevice::new(cost.clone(), &link(), ahead);
        let mut done = Vec::new();
        for id in 0..6 {
            device.submit(prompt(id, 20));
            if ahead == 0 || id > 0 {
                device.wait(None, &mut done);
            }
        }
        while done.len() < 6 {
            device.wait(None, &mut done);
        }
        let spans = done.iter().map(|done| (done.start.0, done.end.0));
        spans.collect::<Vec<_>>()
    };
    // Nothing is dispatched on an idle GPU here: queued or submitted at the end of the one before is the same.
    let queued = spans(1);
    assert_eq!(queued, spans(0));
    // Each takes longer than the one before: limit and load that lasts are felt.
    let took: Vec<u64> = queued.iter().map(|(start, end)| end - start).collect();
    assert!(took.windows(2).all(|pair| pair[0] < pair[1]), "{took:?}");
}

/// Runs `count` decode steps in runs of `run_max` steps behind a prompt, with copies submitted at given times, and cuts at given times, after
/// which the next run follows. Returns when each step ended, by the record of runs, and the copies.
fn drive(
    prompt_tokens: u32,
    run_max: u32,
    count: u32,
    copies: &[(u64, bool, u32)],
    cuts: &[u64],
) -> (Vec<(u64, u32)>, Vec<u64>) {
    let cost = StepCost {
        throttle: limited(),
        ..steps()
    };
    let mut device = SimDevice::new(cost, &link(), 0);
    device.submit(prompt(0, prompt_tokens));
    device.wait(None, &mut Vec::new());
    let (mut done_steps, mut in_flight, mut next_copy, mut id) = (0, None, 0, 0);
    let (mut steps, mut ends, mut now) = (Vec::new(), Vec::new(), 0);
    let mut waiting_cuts = cuts.iter().copied().peekable();
    while done_steps < count || ends.len() < next_copy || next_copy < copies.len() {
        if in_flight.is_none() && done_steps < count {
            id += 1;
            device.submit(decode(
                2 * id,
                run_max.min(count - done_steps),
                u64::from(done_steps),
            ));
            in_flight = Some(OpId(2 * id));
        }
        while next_copy < copies.len() && next_copy == ends.len() && copies[next_copy].0 <= now {
            let (_, to_host, blocks) = copies[next_copy];
            device.submit(copy(
                2 * next_copy as u64 + 1,
                Direction::LINK[usize::from(to_host)],
                blocks,
            ));
            next_copy += 1;
        }
        if waiting_cuts.next_if(|at| *at <= now).is_some()
            && let Some(op) = in_flight
        {
            device.cut(op);
        }
        let alarm = waiting_cuts.peek().copied();
        let alarm = [alarm, copies.get(next_copy).map(|copy| copy.0)]
            .into_iter()
            .flatten()
            .filter(|at| *at > now)
            .min();
        let mut done = Vec::new();
        now = device.wait(alarm.map(Time), &mut done).0;
        for completion in done {
            if completion.op.0.is_multiple_of(2) {
                done_steps += completion.units;
                steps.push((completion.end.0, done_steps));
                in_flight = None;
            } else {
                ends.push(completion.end.0);
            }
        }
    }
    (steps, ends)
}

proptest! {
    #[test]
    fn runs_of_any_length_and_single_steps_agree(
        prompt_tokens in 1_u32..200,
        run_max in 2_u32..40,
        count in 1_u32..60,
        mut copies in prop::collection::vec((0_u64..60_000, any::<bool>(), 1_u32..9), 0..8),
        mut cuts in prop::collection::vec(0_u64..60_000, 0..8),
    ) {
        copies.sort_unstable();
        cuts.sort_unstable();
        let (runs, copied) = drive(prompt_tokens, run_max, count, &copies, &cuts);
        let (single, copied_stepwise) = drive(prompt_tokens, 1, count, &copies, &cuts);
        prop_assert_eq!(copied, copied_stepwise);
        for (end, done) in runs {
            prop_assert_eq!(single[done as usize - 1], (end, done));
        }
    }
}
