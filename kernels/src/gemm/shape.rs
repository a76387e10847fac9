//! Shapes of products, and the buffers that they need.

use crate::arguments::{holds, within};
use crate::gpu::{ArgumentError, View};

/// Type of the output elements; sums are float either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GemmOutput {
    /// Rounded once, at the end.
    Bf16,
    /// As accumulated: logits, where near ties matter.
    Float,
}

/// Shape of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GemmShape {
    /// Rows of input and output: tokens.
    pub rows: u32,
    /// Rows of the weight, columns of the output.
    pub columns: u32,
    /// Columns of input and weight.
    pub inner: u32,
    /// Type of the output.
    pub output: GemmOutput,
    /// Whether the product is added to what the output holds. The library has other kernels for that, and the driver loads a kernel when it
    /// is first launched, which took up to 7 ms of a pass: a plan is tuned in the form in which it runs.
    pub accumulate: bool,
}

impl GemmShape {
    pub(super) fn check(&self) -> Result<(), ArgumentError> {
        let most = (1 << 31) - 1;
        within("gemm", "rows", self.rows.into(), 1, most)?;
        within("gemm", "columns", self.columns.into(), 1, most)?;
        within("gemm", "inner", self.inner.into(), 1, most)
    }

    pub(super) fn check_buffers(
        &self,
        input: View,
        weight: View,
        output: View,
    ) -> Result<(), ArgumentError> {
        let (rows, columns, inner) = (
            u64::from(self.rows),
            u64::from(self.columns),
            u64::from(self.inner),
        );
        let element = match self.output {
            GemmOutput::Bf16 => 2,
            GemmOutput::Float => 4,
        };
        // The chosen algorithms load vectors of 16 bytes.
        holds("gemm", "input", input, 2 * rows * inner, 16)?;
        holds("gemm", "weight", weight, 2 * columns * inner, 16)?;
        holds("gemm", "output", output, element * rows * columns, 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: GemmShape = GemmShape {
        rows: 3,
        columns: 5,
        inner: 8,
        output: GemmOutput::Float,
        accumulate: false,
    };

    #[test]
    fn empty_shapes_and_short_buffers_are_refused() {
        assert!(GemmShape { inner: 0, ..SHAPE }.check().is_err());
        let wide = View::new(0, 1 << 10);
        assert!(SHAPE.check_buffers(wide, wide, View::new(0, 60)).is_ok());
        let error = SHAPE
            .check_buffers(wide, wide, View::new(0, 59))
            .unwrap_err();
        assert!(matches!(
            error,
            ArgumentError::TooShort {
                name: "output",
                need: 60,
                ..
            }
        ));
    }
}
