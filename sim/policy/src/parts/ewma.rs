//! Exponentially weighted means, one per tool class.

use model::ToolClass;

/// `mean <- alpha·value + (1 - alpha)·mean`; the first value of a class is its mean.
#[derive(Clone, Debug)]
pub(crate) struct Ewma {
    alpha: f64,
    means: Vec<Option<f64>>,
}

impl Ewma {
    pub fn new(alpha: f64) -> Self {
        Self {
            alpha,
            means: Vec::new(),
        }
    }

    pub fn push(&mut self, tool: ToolClass, value: f64) {
        if self.means.len() <= tool.index() {
            self.means.resize(tool.index() + 1, None);
        }
        let mean = &mut self.means[tool.index()];
        *mean = Some(match *mean {
            None => value,
            Some(mean) => self.alpha * value + (1.0 - self.alpha) * mean,
        });
    }

    pub fn of(&self, tool: ToolClass) -> Option<f64> {
        self.means.get(tool.index()).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_value_counts_with_its_weight() {
        let mut mean = Ewma::new(0.25);
        assert_eq!(mean.of(ToolClass(1)), None);
        mean.push(ToolClass(1), 4.0);
        mean.push(ToolClass(1), 8.0);
        // 0.25 · 8 + 0.75 · 4 = 5.
        assert_eq!(mean.of(ToolClass(1)), Some(5.0));
        assert_eq!(mean.of(ToolClass(0)), None);
    }
}
