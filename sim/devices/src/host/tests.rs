//! What moves, what does not, and how a wrong byte is named.

use super::*;
use engine::device::{BlockCopy, CopyClass, StepPhase, StepRun, StepShape};
use model::{Bytes, LineageId, SessionId};
use std::num::NonZeroU64;

fn link() -> LinkCost {
    let lane = crate::LaneCost {
        copy_ns: 100,
        block_ns: 0,
        bytes_per_s: NonZeroU64::new(1_000_000_000).unwrap(),
        bytes_per_s_shared: NonZeroU64::new(1_000_000_000).unwrap(),
        slowdown_ppm: 0,
        beside_steps_ppm: 0,
    };
    LinkCost::new(lane, lane)
}

fn pools() -> HostPools {
    HostPools {
        backing_bytes: 64,
        ..HostPools::new(16, 16)
    }
}

fn device() -> HostDevice {
    HostDevice::with_virtual_clock(StepCost::linear(1_000_000, 0, 0, 0), &link(), 0, pools())
}

fn content(index: u32) -> ContentId {
    ContentId {
        lineage: LineageId(4),
        index,
    }
}

/// Blocks `0..count` to blocks `8..` of the other pool, one per chunk; 900 B each, so 1,000 ns a chunk.
fn copy(id: u64, direction: Direction, count: u32) -> Op {
    let blocks = (0..count)
        .map(|block| BlockCopy {
            source: block,
            destination: 8 + block,
            content: content(block),
        })
        .collect();
    Op::Copy(CopyRun {
        id: OpId(id),
        session: SessionId(3),
        direction,
        class: CopyClass::WriteBack,
        block_count: count,
        chunk_blocks: 1,
        block_bytes: Bytes(900),
        blocks,
    })
}

fn wait(device: &mut HostDevice, until: Option<u64>) -> (u64, Vec<Completion>) {
    let mut done = Vec::new();
    (device.wait(until.map(Time), &mut done).0, done)
}

/// The error of the only completion.
fn error(device: &mut HostDevice) -> String {
    wait(device, None)
        .1
        .remove(0)
        .status
        .unwrap_err()
        .to_string()
}

#[test]
fn content_arrives_where_it_was_sent() {
    let mut device = device();
    for block in 0..3 {
        device.wrote(block, content(block));
    }
    device.submit(copy(1, Direction::D2h, 3));
    let (now, done) = wait(&mut device, None);
    assert_eq!((now, done[0].units, &done[0].status), (3_000, 3, &Ok(())));
    for block in 0..3 {
        assert_eq!(device.arenas.host.verify(8 + block, content(block)), Ok(()));
    }
}

#[test]
fn chunks_that_are_over_have_arrived_and_chunks_that_a_cut_takes_back_have_not() {
    let mut device = device();
    for block in 0..8 {
        device.wrote(block, content(block));
    }
    device.submit(copy(1, Direction::D2h, 8));
    assert_eq!(wait(&mut device, Some(2_500)).0, 2_500);
    assert_eq!(device.progress(OpId(1)), 2);
    for block in 0..2 {
        assert_eq!(device.arenas.host.verify(8 + block, content(block)), Ok(()));
    }
    // Two over, two in the lane.
    assert_eq!(device.cut(OpId(1)), 4);
    let (now, done) = wait(&mut device, None);
    assert_eq!((now, done[0].units), (4_000, 4));
    assert_eq!(device.arenas.host.verify(11, content(3)), Ok(()));
    assert!(
        device
            .arenas
            .host
            .verify(12, content(4))
            .unwrap_err()
            .contains("never written")
    );
}

#[test]
fn a_block_that_holds_something_else_is_named_with_its_session_and_content() {
    let mut device = device();
    device.wrote(0, content(0));
    device.wrote(1, content(9));
    device.submit(copy(1, Direction::D2h, 2));
    let text = error(&mut device);
    let expected = "device: D2H copy 1 of session 3: before leaving, HBM block 1 should hold block 1 of lineage 4, but byte 0 differs";
    assert_eq!(text, expected);
}

#[test]
fn a_swap_in_of_what_was_never_swapped_out_is_noticed() {
    let mut device = device();
    device.submit(copy(1, Direction::H2d, 1));
    assert!(
        error(&mut device)
            .contains("host block 0 should hold block 0 of lineage 4, but was never written")
    );
}

#[test]
fn a_byte_that_flips_on_the_way_is_noticed_on_arrival() {
    let mut device = device().with_faults(FaultPlan::none().with(0, CopyFault::FlipByte));
    device.wrote(0, content(0));
    device.submit(copy(1, Direction::D2h, 1));
    let text = error(&mut device);
    assert!(
        text.contains("after arriving, host block 8") && text.ends_with("byte 32 differs"),
        "{text}"
    );
}

#[test]
fn a_stall_costs_no_virtual_time_unless_patience_ends() {
    let run = |stall, patience| {
        let pools = HostPools {
            patience,
            ..pools()
        };
        let fault = FaultPlan::none().with(0, CopyFault::Stall(stall));
        let steps = StepCost::linear(1_000_000, 0, 0, 0);
        let mut device =
            HostDevice::with_virtual_clock(steps, &link(), 0, pools).with_faults(fault);
        device.wrote(0, content(0));
        device.submit(copy(1, Direction::D2h, 1));
        let (now, mut done) = wait(&mut device, None);
        (now, done.remove(0).status)
    };
    assert_eq!(
        run(Duration::from_millis(20), Duration::from_secs(20)),
        (1_000, Ok(()))
    );
    let (now, status) = run(Duration::from_secs(2), Duration::from_millis(20));
    assert_eq!(now, 1_000);
    let text = status.unwrap_err().to_string();
    assert!(
        text.contains("copy 1 of session 3 stalled: chunk 0 did not arrive within 20ms"),
        "{text}"
    );
}

#[test]
fn a_lost_completion_is_not_delivered_and_wakes_nobody() {
    let mut device = device().with_faults(FaultPlan::none().with(0, CopyFault::LoseCompletion));
    device.wrote(0, content(0));
    device.submit(copy(1, Direction::D2h, 1));
    let shape = StepShape {
        decode_seqs: 1,
        ..StepShape::default()
    };
    device.submit(Op::Steps(StepRun {
        id: OpId(2),
        phases: vec![StepPhase { shape, steps: 5 }],
        cuttable: true,
    }));
    let (now, done) = wait(&mut device, None);
    assert_eq!((now, done.len(), done[0].op), (5_000, 1, OpId(2)));
}

#[test]
fn under_a_wall_clock_a_stall_takes_time_and_steps_last_as_long_as_they_cost() {
    let fault = FaultPlan::none().with(0, CopyFault::Stall(Duration::from_millis(30)));
    // Steps of 5 ms.
    let steps = StepCost::linear(5_000_000_000, 0, 0, 0);
    let mut device = HostDevice::with_wall_clock(steps, &link(), 0, pools()).with_faults(fault);
    device.wrote(0, content(0));
    device.submit(copy(1, Direction::D2h, 1));
    let shape = StepShape {
        decode_seqs: 1,
        ..StepShape::default()
    };
    device.submit(Op::Steps(StepRun {
        id: OpId(2),
        phases: vec![StepPhase { shape, steps: 2 }],
        cuttable: true,
    }));
    let (mut done, mut now) = (Vec::new(), Time::ZERO);
    while done.len() < 2 {
        now = device.wait(None, &mut done);
    }
    assert!(now >= Time(30_000_000), "{now}");
    let steps = done
        .iter()
        .find(|completion| completion.op == OpId(2))
        .unwrap();
    assert_eq!(steps.end.since(steps.start), Nanos(10_000_000));
}

#[test]
fn under_a_wall_clock_a_mover_that_never_reports_fails_its_copy() {
    let pools = HostPools {
        patience: Duration::from_millis(20),
        ..pools()
    };
    let fault = FaultPlan::none().with(0, CopyFault::Stall(Duration::from_secs(2)));
    let steps = StepCost::linear(1_000_000, 0, 0, 0);
    let mut device = HostDevice::with_wall_clock(steps, &link(), 0, pools).with_faults(fault);
    device.wrote(0, content(0));
    device.submit(copy(1, Direction::D2h, 4));
    assert!(error(&mut device).contains("stalled"));
}

#[test]
#[should_panic(expected = "names a block outside the pools")]
fn a_copy_beyond_the_pools_is_a_bug() {
    device().submit(copy(1, Direction::D2h, 9));
}

#[test]
#[should_panic(expected = "does not name its blocks")]
fn a_copy_without_blocks_is_a_bug() {
    let Op::Copy(run) = copy(1, Direction::D2h, 2) else {
        unreachable!()
    };
    device().submit(Op::Copy(CopyRun {
        blocks: Vec::new(),
        ..run
    }));
}
