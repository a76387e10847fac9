//! What a scheduling has put together goes to the device.
use super::super::Driver;
use super::{InFlight, Plan};
use crate::device::{Device, StepPhase, StepRun, StepShape};
use crate::record::OpKind;

impl<D: Device> Driver<'_, D> {
    /// Gives a plan to the device.
    pub(in super::super) fn submit_plan(&mut self, plan: Plan) {
        let Plan {
            items,
            steps,
            preempted,
            record,
            orders,
        } = plan;
        let launch = self.launch(orders, !items.is_empty());
        if items.is_empty() {
            let queues = self.offload.is_some();
            if preempted > 0 || queues {
                self.in_flight.push_back(InFlight {
                    // It has its turn among the others if it has copies to poll for.
                    steps: u32::from(queues),
                    submitted: self.now,
                    launched: self.now,
                    record: record.filter(|_| preempted > 0),
                    launch,
                    ..InFlight::placeholder()
                });
                self.flush_empty();
            }
            return;
        }
        let mut shape = StepShape::default();
        for item in &items {
            if item.decode {
                shape.decode_seqs += 1;
                shape.decode_kv_tokens += u64::from(item.context + 1);
            } else {
                shape.prefill.extend(item.chunks());
            }
        }
        let kind = OpKind::Steps {
            steps,
            prefill_tokens: shape.prefill_tokens(),
            decode_seqs: shape.decode_seqs,
            kv_tokens: shape.kv_tokens(),
            prefill_kv_tokens: shape.kv_tokens() - shape.decode_kv_tokens,
            prefill_pairs: shape.prefill_pairs(),
            prefill_tile_kv_tokens: shape.prefill_tile_kv_tokens(),
        };
        self.summary.prefill_tokens += u64::from(shape.prefill_tokens());
        self.report.prefill += u64::from(shape.prefill_tokens());
        let op = self.new_op();
        self.in_flight.push_back(InFlight {
            op: Some(op),
            items,
            steps,
            applied: 1,
            completed: 0,
            submitted: self.now,
            launched: self.now,
            kind,
            record,
            launch,
        });
        self.hand_over(StepRun {
            id: op,
            phases: vec![StepPhase { shape, steps }],
            cuttable: !self.config.batching.serial,
        });
    }
}
