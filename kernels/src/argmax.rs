//! Greedy sampling: the index of the largest logit of each row. Shapes, grid and traffic: `argmax.cu`.

use crate::arguments::{GRID_X_MAX, holds, within};
use crate::gpu::{ArgumentError, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image};

/// The shipped kernel.
pub const IMAGE: Image = image!("argmax");

/// Finds largest elements.
pub struct Argmax {
    kernel: Kernel,
}

/// One call: `row_count` rows of `width` logits.
#[derive(Debug, Clone, Copy)]
pub struct ArgmaxRows {
    /// `[row_count][width]` float.
    pub logits: View,
    /// `[row_count]` int32.
    pub output: View,
    /// Rows; zero submits nothing.
    pub row_count: u32,
    /// Logits of a row.
    pub width: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters {
    logits: u64,
    output: u64,
    width: u32,
}

impl Argmax {
    /// Loads the kernel.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither of its forms.
    pub fn load(gpu: &Gpu) -> Result<Self, Error> {
        Ok(Self {
            kernel: Module::load(gpu, &IMAGE)?.kernel("argmax", 0)?,
        })
    }

    /// Submits the search to `stream`.
    ///
    /// # Errors
    /// A typed argument error for shapes or buffers that the kernel cannot take, or what the driver refuses.
    pub fn launch(&self, stream: &Stream, rows: &ArgmaxRows) -> Result<(), Error> {
        let parameters = rows.check()?;
        if rows.row_count == 0 {
            return Ok(());
        }
        let launch = Launch {
            grid: [rows.row_count, 1, 1],
            threads: 512,
        };
        // SAFETY: 1. the struct mirrors `ArgmaxArgs`. 2. `check` covers every address. 3. it waits first.
        unsafe { self.kernel.launch_overlapping(stream, launch, &parameters) }
    }
}

impl ArgmaxRows {
    fn check(&self) -> Result<Parameters, ArgumentError> {
        let operation = "argmax";
        let rows = u64::from(self.row_count);
        within(operation, "width", self.width.into(), 1, (1 << 31) - 1)?;
        within(operation, "row_count", rows, 0, GRID_X_MAX)?;
        holds(
            operation,
            "logits",
            self.logits,
            4 * rows * u64::from(self.width),
            4,
        )?;
        holds(operation, "output", self.output, 4 * rows, 4)?;
        Ok(Parameters {
            logits: self.logits.address(),
            output: self.output.address(),
            width: self.width,
        })
    }
}

/// What [`Argmax`] computes for one row: the lowest index of the largest value; NaN never wins.
pub fn reference(logits: &[f32]) -> i32 {
    let (mut best, mut largest) = (0, f32::NEG_INFINITY);
    for (index, &logit) in (0..).zip(logits) {
        if logit > largest {
            (best, largest) = (index, logit);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_index_wins_a_tie_and_nan_never_wins() {
        assert_eq!(reference(&[1.0, 3.0, f32::NAN, 3.0]), 1);
        assert_eq!(reference(&[f32::NAN, f32::NEG_INFINITY]), 0);
    }

    #[test]
    fn an_empty_row_and_a_short_output_are_refused() {
        let good = ArgmaxRows {
            logits: View::new(0, 84),
            output: View::new(0, 12),
            row_count: 3,
            width: 7,
        };
        assert!(good.check().is_ok());
        assert!(ArgmaxRows { width: 0, ..good }.check().is_err());
        assert!(
            ArgmaxRows {
                output: View::new(0, 11),
                ..good
            }
            .check()
            .is_err()
        );
    }
}
