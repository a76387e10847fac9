//! The bookkeeping of a device, on a GPU that is none.

use super::*;
use crate::fake::FakeGpu;
use devices::conformance::{POOL_BLOCKS, Subject, check};
use engine::device::{CopyClass, Device, Op, StepPhase, StepRun, StepShape};
use model::{Bytes, ContentId, LineageId, SessionId};

fn device(gpu: FakeGpu, ahead: u32) -> ReplayDevice<FakeGpu> {
    let options = DeviceOptions {
        ahead,
        patience: Duration::from_millis(200),
        ..DeviceOptions::default()
    };
    ReplayDevice::new(gpu, options).expect("a thread")
}

fn content(index: u32) -> ContentId {
    ContentId {
        lineage: LineageId(5),
        index,
    }
}

/// Says of these blocks that steps wrote what copies expect.
fn write(device: &mut ReplayDevice<FakeGpu>, blocks: std::ops::Range<u32>) {
    for index in blocks {
        device.wrote(index, content(index));
    }
}

fn copy(id: u64, direction: Direction, blocks: std::ops::Range<u32>) -> Op {
    let blocks: Vec<_> = blocks
        .map(|at| BlockCopy {
            source: at,
            destination: at,
            content: content(at),
        })
        .collect();
    Op::Copy(CopyRun {
        id: OpId(id),
        session: SessionId(9),
        direction,
        class: CopyClass::Demand,
        block_count: blocks.len() as u32,
        chunk_blocks: 2,
        block_bytes: Bytes(4_096),
        blocks,
    })
}

fn decode(id: u64, steps: u32) -> Op {
    let shape = StepShape {
        decode_seqs: 1,
        decode_kv_tokens: 10,
        ..StepShape::default()
    };
    Op::Steps(StepRun {
        id: OpId(id),
        phases: vec![StepPhase { shape, steps }],
        cuttable: true,
    })
}

/// Waits for the next completion.
fn next(device: &mut ReplayDevice<FakeGpu>) -> Completion {
    let mut done = Vec::new();
    while done.is_empty() {
        device.wait(None, &mut done);
    }
    assert_eq!(done.len(), 1);
    done.remove(0)
}

fn failure(completion: &Completion) -> String {
    completion
        .status
        .as_ref()
        .expect_err("it failed")
        .to_string()
}

#[test]
fn the_device_keeps_the_contract_in_order_and_accounts() {
    for ahead in [0, 1] {
        let make = || -> Box<dyn Device> {
            Box::new(device(FakeGpu::new(POOL_BLOCKS, POOL_BLOCKS), ahead))
        };
        check(&Subject {
            make: &make,
            ahead,
            lane_depth: 2,
            exact: false,
        })
        .unwrap();
    }
}

#[test]
fn blocks_survive_the_way_out_and_back() {
    let mut device = device(FakeGpu::new(8, 8), 0);
    write(&mut device, 0..5);
    for (id, direction) in (0..).zip(Direction::LINK) {
        device.submit(copy(id, direction, 0..5));
        let done = next(&mut device);
        // Five blocks in chunks of two: 2 + 2 + 1.
        assert_eq!((done.units, done.status), (3, Ok(())));
    }
    let moved = device.gauges();
    assert_eq!(moved.moved[0].load(Ordering::Relaxed), 5 * 4_096);
    assert_eq!(moved.moved[1].load(Ordering::Relaxed), 5 * 4_096);
}

#[test]
fn a_block_with_the_wrong_content_ends_its_copy_with_session_copy_and_block() {
    let mut device = device(FakeGpu::new(8, 8), 0);
    device.wrote(
        0,
        ContentId {
            lineage: LineageId(5),
            index: 0,
        },
    );
    device.wrote(
        1,
        ContentId {
            lineage: LineageId(6),
            index: 1,
        },
    );
    device.submit(copy(3, Direction::D2h, 0..2));
    assert_eq!(
        failure(&next(&mut device)),
        "device: D2H copy 3 of session 9: before leaving, HBM block 1 (the source) should hold block 1 of lineage 5, \
         but 1 of its 8-byte words differ"
    );
}

#[test]
fn blocks_outside_the_pools_are_refused_and_not_touched() {
    let mut device = device(FakeGpu::new(8, 4), 0);
    device.submit(copy(0, Direction::D2h, 3..5));
    let text = failure(&next(&mut device));
    assert!(text.contains("outside the pools of 8 and 4"), "{text}");
    device.wrote(
        8,
        ContentId {
            lineage: LineageId(1),
            index: 1,
        },
    );
    device.submit(decode(1, 1));
    let text = failure(&next(&mut device));
    assert!(
        text.contains("a step wrote block 8, which is outside the HBM pool of 8"),
        "{text}"
    );
}

#[test]
fn a_copy_that_names_no_blocks_is_refused() {
    let mut device = device(FakeGpu::new(8, 8), 0);
    device.submit(copy(0, Direction::D2h, 0..0));
    assert!(failure(&next(&mut device)).contains("names 0 of 0 blocks"));
}

#[test]
fn a_launch_that_is_refused_ends_the_run_with_what_was_done() {
    let mut gpu = FakeGpu::new(8, 8);
    gpu.steps_left = 3;
    let mut device = device(gpu, 1);
    device.submit(decode(0, 10));
    let done = next(&mut device);
    assert_eq!(done.units, 3);
    assert_eq!(failure(&done), "device: step run 0: the launch was refused");
}

#[test]
fn a_second_copy_in_a_busy_lane_is_an_error_and_no_panic() {
    let mut device = device(FakeGpu::new(8, 8), 0);
    write(&mut device, 0..4);
    device.submit(copy(0, Direction::D2h, 0..2));
    device.submit(copy(1, Direction::D2h, 2..4));
    assert!(failure(&next(&mut device)).contains("while another copy is in its lane"));
}

#[test]
fn an_idle_device_asked_to_wait_for_ever_returns() {
    let mut device = device(FakeGpu::new(8, 8), 1);
    let mut done = Vec::new();
    let first = device.wait(None, &mut done);
    assert!(device.wait(Some(first + Nanos(3_000_000)), &mut done) >= first + Nanos(3_000_000));
    assert!(done.is_empty());
}

#[test]
fn what_the_driver_hears_comes_after_the_end_and_is_kept() {
    let mut device = device(FakeGpu::new(8, 8), 0);
    device.submit(decode(0, 4));
    let done = next(&mut device);
    let [timing] = device.timings() else {
        panic!("one operation")
    };
    assert_eq!((timing.op, timing.kind, timing.units), (0, "steps", 4));
    assert_eq!(timing.end_ns, done.end.0);
    // Four steps of 50 us, one after the other.
    assert!(timing.gpu_ns == 200_000 && done.end.since(done.start).0 >= 200_000);
    assert_eq!(timing.harness_ns(), device.now.0 - done.end.0);
    assert!(csv(device.timings()).contains(&format!("\n0,steps,4,{},", done.start.0)));
}

#[test]
fn a_renewed_device_has_done_nothing_and_its_pools_are_those_of_the_run_before() {
    let mut device = device(FakeGpu::new(8, 8), 1);
    write(&mut device, 0..4);
    device.submit(copy(0, Direction::D2h, 0..4));
    assert!(next(&mut device).status.is_ok());
    let mut device = device
        .renewed(DeviceOptions::default())
        .expect("nothing is in flight");
    assert!(device.timings().is_empty() && device.awake().is_empty());
    let moved = &device.gauges().moved[0];
    assert_eq!(moved.load(Ordering::Relaxed), 0);
    // Operations are numbered from 0 again, and find the blocks of before.
    device.submit(copy(0, Direction::H2d, 0..4));
    let completion = next(&mut device);
    assert!(completion.status.is_ok(), "{completion:?}");
    assert_eq!(completion.op, OpId(0));
}

#[test]
fn a_device_with_something_in_flight_is_not_renewed() {
    let mut device = device(FakeGpu::new(8, 8), 1);
    device.submit(decode(0, 1_000_000));
    let Err(error) = device.renewed(DeviceOptions::default()) else {
        panic!("a run is in flight")
    };
    assert!(error.to_string().contains("in flight"), "{error}");
}
