//! The gated activation, `silu(gate) * up`. Shapes, grid and traffic: `silu_mul.cu`.

use half::bf16;

use crate::arguments::{GRID_YZ_MAX, holds, multiple, within};
use crate::gpu::{ArgumentError, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image};

/// The shipped kernel.
pub const IMAGE: Image = image!("silu_mul");

/// Applies the activation.
pub struct SiluMul {
    kernel: Kernel,
}

/// One call: `row_count` rows, `width` elements of gate and of up in each.
#[derive(Debug, Clone, Copy)]
pub struct SiluMulRows {
    /// `[row_count][width / 8][2][8]` bf16: eight of gate, then their eight of up.
    pub gate_up: View,
    /// `[row_count][width]` bf16.
    pub output: View,
    /// Rows; zero submits nothing.
    pub row_count: u32,
    /// Elements of an output row.
    pub width: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters {
    gate_up: u64,
    output: u64,
    row_count: u32,
    width: u32,
}

impl SiluMul {
    /// Loads the kernel.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither of its forms.
    pub fn load(gpu: &Gpu) -> Result<Self, Error> {
        Ok(Self {
            kernel: Module::load(gpu, &IMAGE)?.kernel("silu_mul", 0)?,
        })
    }

    /// Submits the activation to `stream`.
    ///
    /// # Errors
    /// A typed argument error for shapes or buffers that the kernel cannot take, or what the driver refuses.
    pub fn launch(&self, stream: &Stream, rows: &SiluMulRows) -> Result<(), Error> {
        let parameters = rows.check()?;
        if rows.row_count == 0 {
            return Ok(());
        }
        let grid = [
            (rows.width / 8).div_ceil(256),
            rows.row_count.min(GRID_YZ_MAX as u32),
            1,
        ];
        // SAFETY: 1. the struct mirrors `SiluMulArgs`. 2. `check` covers every address. 3. it waits first.
        unsafe {
            self.kernel
                .launch_overlapping(stream, Launch { grid, threads: 256 }, &parameters)
        }
    }
}

impl SiluMulRows {
    fn check(&self) -> Result<Parameters, ArgumentError> {
        let operation = "silu_mul";
        let bytes = 2 * u64::from(self.row_count) * u64::from(self.width);
        within(operation, "width", self.width.into(), 8, 1 << 28)?;
        multiple(operation, "width", self.width.into(), 8)?;
        holds(operation, "gate_up", self.gate_up, 2 * bytes, 16)?;
        holds(operation, "output", self.output, bytes, 16)?;
        Ok(Parameters {
            gate_up: self.gate_up.address(),
            output: self.output.address(),
            row_count: self.row_count,
            width: self.width,
        })
    }
}

/// What [`SiluMul`] computes for one row of `[width / 8][2][8]` elements, in double precision.
pub fn reference(gate_up: &[bf16]) -> Vec<f64> {
    gate_up
        .chunks_exact(16)
        .flat_map(|pair| pair[..8].iter().zip(&pair[8..]))
        .map(|(gate, up)| gated(gate.to_f64(), up.to_f64()))
        .collect()
}

/// `silu(gate) * up`.
pub fn gated(gate: f64, up: f64) -> f64 {
    gate / (1.0 + (-gate).exp()) * up
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silu_is_half_at_its_tangent_zero_at_zero_and_the_identity_far_out() {
        assert!(gated(0.0, 5.0).abs() < 1e-15 && gated(-40.0, 2.0).abs() < 1e-12);
        assert!((gated(40.0, 2.0) - 80.0).abs() < 1e-9);
        // 1 / (1 + 1/e) = 0.731058...
        assert!((gated(1.0, 1.0) - 0.731_058_578_630_004_9).abs() < 1e-12);
    }

    #[test]
    fn gate_and_up_alternate_eight_by_eight() {
        // Gates 40 (silu is the identity), ups 0 to 7 and then 8 to 15.
        let gate = [bf16::from_f32(40.0); 8];
        let ups = |from: usize| -> Vec<bf16> {
            (from..from + 8)
                .map(|up| bf16::from_f32(up as f32))
                .collect()
        };
        let row = [&gate[..], &ups(0), &gate, &ups(8)].concat();
        let want: Vec<f64> = (0..16).map(|up| 40.0 * f64::from(up)).collect();
        for (have, want) in reference(&row).iter().zip(want) {
            assert!((have - want).abs() < 1e-9, "{have} for {want}");
        }
    }

    #[test]
    fn an_odd_width_and_a_short_output_are_refused() {
        let good = SiluMulRows {
            gate_up: View::new(0, 192),
            output: View::new(0, 96),
            row_count: 3,
            width: 16,
        };
        assert!(good.check().is_ok());
        assert!(SiluMulRows { width: 12, ..good }.check().is_err());
        let short = SiluMulRows {
            output: View::new(0, 95),
            ..good
        };
        assert!(matches!(
            short.check(),
            Err(ArgumentError::TooShort { name: "output", .. })
        ));
    }
}
