//! Rows of a table by index: token embeddings, or the last hidden row of each sequence.
//! Shapes, grid and traffic: `take_rows.cu`. Ids live in GPU memory and are trusted.

use crate::arguments::{GRID_X_MAX, holds, multiple, within};
use crate::gpu::{ArgumentError, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image};

/// The shipped kernel.
pub const IMAGE: Image = image!("take_rows");

/// Takes rows.
pub struct TakeRows {
    kernel: Kernel,
}

/// One call: row `ids[i]` of `table` becomes row i of `output`.
#[derive(Debug, Clone, Copy)]
pub struct RowsToTake {
    /// `[table_rows][width]` bf16.
    pub table: View,
    /// `[row_count]` int32.
    pub ids: View,
    /// `[row_count][width]` bf16.
    pub output: View,
    /// Rows; zero submits nothing.
    pub row_count: u32,
    /// Elements of a row.
    pub width: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters {
    table: u64,
    ids: u64,
    output: u64,
    width: u32,
}

impl TakeRows {
    /// Loads the kernel.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither of its forms.
    pub fn load(gpu: &Gpu) -> Result<Self, Error> {
        Ok(Self {
            kernel: Module::load(gpu, &IMAGE)?.kernel("take_rows", 0)?,
        })
    }

    /// Submits the copy of rows to `stream`.
    ///
    /// # Errors
    /// A typed argument error for shapes or buffers that the kernel cannot take, or what the driver refuses.
    pub fn launch(&self, stream: &Stream, rows: &RowsToTake) -> Result<(), Error> {
        let parameters = rows.check()?;
        if rows.row_count == 0 {
            return Ok(());
        }
        let launch = Launch {
            grid: [rows.row_count, 1, 1],
            threads: 256,
        };
        // SAFETY: 1. the struct mirrors `TakeRowsArgs`. 2. `check` covers all but the ids, which the caller owns. 3. it waits first.
        unsafe { self.kernel.launch_overlapping(stream, launch, &parameters) }
    }
}

impl RowsToTake {
    fn check(&self) -> Result<Parameters, ArgumentError> {
        let operation = "take_rows";
        within(operation, "width", self.width.into(), 8, 1 << 28)?;
        multiple(operation, "width", self.width.into(), 8)?;
        within(operation, "row_count", self.row_count.into(), 0, GRID_X_MAX)?;
        let row_bytes = 2 * u64::from(self.width);
        holds(operation, "table", self.table, row_bytes, 16)?;
        holds(operation, "ids", self.ids, 4 * u64::from(self.row_count), 4)?;
        holds(
            operation,
            "output",
            self.output,
            row_bytes * u64::from(self.row_count),
            16,
        )?;
        Ok(Parameters {
            table: self.table.address(),
            ids: self.ids.address(),
            output: self.output.address(),
            width: self.width,
        })
    }
}

/// What [`TakeRows`] computes, on the CPU.
///
/// # Panics
/// If an id is outside the table.
pub fn reference<T: Copy>(table: &[T], ids: &[i32], width: usize) -> Vec<T> {
    ids.iter()
        .flat_map(|&id| &table[id as usize * width..][..width])
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_the_order_of_the_ids_and_may_repeat() {
        assert_eq!(
            reference(&[1, 2, 3, 4, 5, 6], &[2, 0, 2], 2),
            [5, 6, 1, 2, 5, 6]
        );
    }

    #[test]
    fn an_output_too_short_for_its_ids_is_refused() {
        let wide = View::new(0, 1 << 12);
        let good = RowsToTake {
            table: wide,
            ids: wide,
            output: View::new(0, 3 * 32),
            row_count: 3,
            width: 16,
        };
        assert!(good.check().is_ok());
        let more = RowsToTake {
            row_count: 4,
            ..good
        };
        assert!(matches!(
            more.check(),
            Err(ArgumentError::TooShort {
                name: "output",
                need: 128,
                ..
            })
        ));
    }
}
