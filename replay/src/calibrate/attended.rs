//! What a token of context costs, from steps that differ in little but their context.

use super::fit::{Weighed, least_deviations};

/// A step, or what is left of it, and the context that it attended to.
#[derive(Clone, Copy, Debug)]
pub struct Attended {
    /// KV tokens that each of its tokens attends to.
    pub context: f64,
    /// Its time, as far as it is to be explained \[ns\].
    pub nanos: f64,
    /// Its whole time, which deviations are relative to \[ns\].
    pub step: f64,
}

/// A token of context, and what there is without, by the line with the least sum of relative deviations. `None` of fewer than two steps.
pub fn line(steps: &[Attended]) -> Option<[f64; 2]> {
    let rows: Vec<Weighed> = steps
        .iter()
        .map(|step| step.weighed([step.context, 1.0, 0.0], 0.0))
        .collect();
    (rows.len() >= 2).then(|| {
        let [each, floor, _] = least_deviations(&rows);
        [each, floor]
    })
}

/// A token of context beyond what there is without, by those steps of which contexts are at least the share `telling`. `None` if there are none.
pub fn slope(steps: &[Attended], floor: f64, telling: f64) -> Option<f64> {
    let rows: Vec<Weighed> = steps
        .iter()
        .filter(|step| step.nanos - floor >= telling * step.step)
        .map(|step| step.weighed([step.context, 0.0, 0.0], floor))
        .collect();
    (!rows.is_empty()).then(|| least_deviations(&rows)[0])
}

impl Attended {
    /// What is above `floor` as a sum of `terms`, its deviation relative to the whole step.
    pub fn weighed(&self, terms: [f64; 3], floor: f64) -> Weighed {
        Weighed {
            terms,
            value: self.nanos - floor,
            scale: self.step,
        }
    }
}
