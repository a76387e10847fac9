//! RMSNorm, with an optional residual addition before it. Shapes, grid and traffic: `rms_norm.cu`.

use half::bf16;

use crate::arguments::{GRID_X_MAX, holds, multiple, within};
use crate::gpu::{ArgumentError, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image};

/// The shipped kernel.
pub const IMAGE: Image = image!("rms_norm");

/// Normalises rows.
pub struct RmsNorm {
    kernel: Kernel,
}

/// One call: `row_count` rows of `hidden` bf16 elements.
#[derive(Debug, Clone, Copy)]
pub struct RmsNormRows {
    /// `[row_count][hidden]`.
    pub input: View,
    /// `[row_count][hidden]`: the input is added to it, and the sum normalised.
    pub residual: Option<View>,
    /// `[hidden]`.
    pub weight: View,
    /// `[row_count][hidden]`; may be `input`.
    pub output: View,
    /// Rows; zero submits nothing.
    pub row_count: u32,
    /// Elements of a row.
    pub hidden: u32,
    /// Added to the mean of squares.
    pub epsilon: f32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters {
    input: u64,
    residual: u64,
    weight: u64,
    output: u64,
    hidden: u32,
    epsilon: f32,
}

impl RmsNorm {
    /// Loads the kernel.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither of its forms.
    pub fn load(gpu: &Gpu) -> Result<Self, Error> {
        Ok(Self {
            kernel: Module::load(gpu, &IMAGE)?.kernel("rms_norm", 0)?,
        })
    }

    /// Submits the normalisation to `stream`.
    ///
    /// # Errors
    /// A typed argument error for shapes or buffers that the kernel cannot take, or what the driver refuses.
    pub fn launch(&self, stream: &Stream, rows: &RmsNormRows) -> Result<(), Error> {
        let parameters = rows.check()?;
        if rows.row_count == 0 {
            return Ok(());
        }
        let launch = Launch {
            grid: [rows.row_count, 1, 1],
            threads: 256,
        };
        // SAFETY: 1. the struct mirrors `RmsNormArgs`. 2. `check` covers every address. 3. it waits first.
        unsafe { self.kernel.launch_overlapping(stream, launch, &parameters) }
    }
}

impl RmsNormRows {
    fn check(&self) -> Result<Parameters, ArgumentError> {
        let operation = "rms_norm";
        let bytes = 2 * u64::from(self.row_count) * u64::from(self.hidden);
        within(operation, "hidden", self.hidden.into(), 8, 16_384)?;
        multiple(operation, "hidden", self.hidden.into(), 8)?;
        within(operation, "row_count", self.row_count.into(), 0, GRID_X_MAX)?;
        holds(operation, "input", self.input, bytes, 16)?;
        holds(
            operation,
            "weight",
            self.weight,
            2 * u64::from(self.hidden),
            16,
        )?;
        holds(operation, "output", self.output, bytes, 16)?;
        if let Some(residual) = self.residual {
            holds(operation, "residual", residual, bytes, 16)?;
        }
        Ok(Parameters {
            input: self.input.address(),
            residual: self.residual.map_or(0, View::address),
            weight: self.weight.address(),
            output: self.output.address(),
            hidden: self.hidden,
            epsilon: self.epsilon,
        })
    }
}

/// What [`RmsNorm`] computes for one row, in double precision: the sum with the residual, rounded to bf16
/// as the kernel stores it, and the output, not rounded.
pub fn reference(
    input: &[bf16],
    residual: Option<&[bf16]>,
    weight: &[bf16],
    epsilon: f32,
) -> (Vec<bf16>, Vec<f64>) {
    let sum: Vec<bf16> = match residual {
        Some(residual) => input
            .iter()
            .zip(residual)
            .map(|(x, y)| bf16::from_f32(x.to_f32() + y.to_f32()))
            .collect(),
        None => input.to_vec(),
    };
    let squares: f64 = sum.iter().map(|x| x.to_f64() * x.to_f64()).sum();
    let scale = (squares / sum.len() as f64 + f64::from(epsilon))
        .sqrt()
        .recip();
    let output = sum
        .iter()
        .zip(weight)
        .map(|(x, w)| x.to_f64() * scale * w.to_f64())
        .collect();
    (sum, output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_equal_elements_becomes_the_weights() {
        // mean of squares 9, so x / 3 = 1, times the weights.
        let input = [bf16::from_f32(3.0); 4];
        let weight: Vec<bf16> = [1.0, 2.0, -1.0, 0.5].map(bf16::from_f32).to_vec();
        let (_, output) = reference(&input, None, &weight, 0.0);
        for (have, want) in output.iter().zip([1.0, 2.0, -1.0, 0.5]) {
            assert!((have - want).abs() < 1e-12);
        }
    }

    #[test]
    fn the_residual_is_added_before_the_norm() {
        let (sum, output) = reference(
            &[bf16::from_f32(1.0); 2],
            Some(&[bf16::from_f32(2.0), bf16::from_f32(-5.0)]),
            &[bf16::ONE; 2],
            0.0,
        );
        // 1 + 2 = 3 and 1 - 5 = -4; root mean square sqrt(12.5).
        assert_eq!(sum, [bf16::from_f32(3.0), bf16::from_f32(-4.0)]);
        assert!((output[0] - 3.0 / 12.5_f64.sqrt()).abs() < 1e-12);
        assert!((output[1] + 4.0 / 12.5_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn shapes_that_the_kernel_was_not_built_for_are_refused() {
        let wide = View::new(0, 1 << 20);
        let good = RmsNormRows {
            input: wide,
            residual: None,
            weight: wide,
            output: wide,
            row_count: 3,
            hidden: 4096,
            epsilon: 1e-5,
        };
        assert!(good.check().is_ok());
        assert!(
            RmsNormRows {
                hidden: 4100,
                ..good
            }
            .check()
            .is_err(),
            "not a multiple of 8"
        );
        assert!(
            RmsNormRows {
                hidden: 16_392,
                ..good
            }
            .check()
            .is_err(),
            "does not fit the registers"
        );
        let short = RmsNormRows {
            residual: Some(View::new(0, 3 * 4096 * 2 - 1)),
            ..good
        };
        assert!(matches!(
            short.check(),
            Err(ArgumentError::TooShort {
                name: "residual",
                ..
            })
        ));
    }
}
