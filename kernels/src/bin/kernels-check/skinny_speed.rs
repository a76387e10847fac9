//! Products for few rows at the shapes of Llama-2-7B, beside the read of the weight.

use std::path::Path;

use kernels::gpu::DeviceBuffer;
use kernels::skinny_gemm::{Epilogue, SkinnyGemm, SkinnyProduct};

use crate::speed::{Bench, REPEATS};
use crate::timing::{Table, gigabytes_per_second, median_nanos};

impl Bench {
    /// In graphs over weights larger than L2, as in a decode step; into `skinny_gemm.csv`.
    pub fn skinny(&self, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let mut table = Table::new(
            &self.gpu,
            "skinny_gemm",
            "epilogue,rows,columns,inner,nanos,gb_per_s",
        );
        let kernel = SkinnyGemm::load(&self.gpu)?;
        for rows in [1, 8, 16, 32] {
            for (epilogue, columns, inner) in [
                (Epilogue::Store, 12_288, 4096),
                (Epilogue::Add, 4096, 4096),
                (Epilogue::Gate, 22_016, 4096),
                (Epilogue::Add, 4096, 11_008),
                (Epilogue::Float, 32_000, 4096),
            ] {
                let weight_bytes = 2 * u64::from(columns) * u64::from(inner);
                let copies = (200_u64 << 20).div_ceil(weight_bytes) + 1;
                let weights = self.filled(copies * weight_bytes)?;
                let input = self.filled(2 * u64::from(rows) * u64::from(inner))?;
                let output =
                    DeviceBuffer::new(&self.gpu, 4 * u64::from(rows) * u64::from(columns))?;
                self.stream.fill(output.view(), 0)?;
                let graph = self.stream.capture(|stream| {
                    (0..copies).try_for_each(|copy| {
                        let product = SkinnyProduct {
                            input: input.view(),
                            weight: weights.view().slice(copy * weight_bytes, weight_bytes)?,
                            output: output.view(),
                            rows,
                            columns,
                            inner,
                            epilogue,
                        };
                        kernel.launch(stream, &product)
                    })
                })?;
                let nanos = median_nanos(&self.gpu, &self.stream, REPEATS, || {
                    graph.launch(&self.stream)
                })? / copies;
                let rate = gigabytes_per_second(weight_bytes, nanos);
                table.row(&format!(
                    "{epilogue:?},{rows},{columns},{inner},{nanos},{rate:.0}"
                ));
            }
        }
        table.save(folder)?;
        Ok(())
    }
}
