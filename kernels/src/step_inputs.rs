//! The lists of a step (tokens, positions, block tables), from pinned host memory into HBM. Shapes, grid and traffic: `step_inputs.cu`.

use crate::arguments::{holds, within};
use crate::gpu::{ArgumentError, Error, Gpu, Image, Kernel, Launch, Module, Stream, View, image};

/// The shipped kernel.
pub const IMAGE: Image = image!("step_inputs");

const THREADS: u32 = 256;
/// CTAs at most: enough reads in flight to fill the link.
const CTAS_MAX: u32 = 64;

/// Brings inputs.
pub struct StepInputs {
    kernel: Kernel,
}

/// One call: `word_count` words go to `words`, the rest as rows to `rows`.
#[derive(Debug, Clone, Copy)]
pub struct InputLists {
    /// `[word_count + row_count * row_words]` uint32, pinned host memory.
    pub from: View,
    /// `[word_count]` uint32.
    pub words: View,
    /// `[row_count][row_stride]` uint32; the first `row_words` of each row are written.
    pub rows: View,
    /// Words outside the table.
    pub word_count: u32,
    /// Rows of the table.
    pub row_count: u32,
    /// Words of a row that are brought.
    pub row_words: u32,
    /// Words from one row to the next.
    pub row_stride: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Parameters {
    from: u64,
    words: u64,
    rows: u64,
    word_count: u32,
    row_count: u32,
    row_words: u32,
    row_stride: u32,
}

impl StepInputs {
    /// Loads the kernel.
    ///
    /// # Errors
    /// [`Error::Module`] if the GPU takes neither of its forms.
    pub fn load(gpu: &Gpu) -> Result<Self, Error> {
        Ok(Self {
            kernel: Module::load(gpu, &IMAGE)?.kernel("step_inputs", 0)?,
        })
    }

    /// Submits the transfer to `stream`. The host memory must not change before it is over.
    ///
    /// # Errors
    /// A typed argument error for buffers too short or misaligned, or what the driver refuses.
    pub fn launch(&self, stream: &Stream, lists: &InputLists) -> Result<(), Error> {
        let parameters = lists.check()?;
        let words = lists.word_count + lists.row_count * lists.row_words;
        if words == 0 {
            return Ok(());
        }
        let launch = Launch {
            grid: [words.div_ceil(THREADS).min(CTAS_MAX), 1, 1],
            threads: THREADS,
        };
        // SAFETY: 1. the struct mirrors `StepInputsArgs`. 2. `check` covers every address. 3. it waits first.
        unsafe { self.kernel.launch_overlapping(stream, launch, &parameters) }
    }
}

impl InputLists {
    fn check(&self) -> Result<Parameters, ArgumentError> {
        let operation = "step_inputs";
        let table = u64::from(self.row_count) * u64::from(self.row_words);
        let words = u64::from(self.word_count) + table;
        within(operation, "words", words, 0, 1 << 30)?;
        let stride = u64::from(self.row_stride);
        within(operation, "row_words", self.row_words.into(), 0, stride)?;
        holds(operation, "from", self.from, 4 * words, 4)?;
        holds(
            operation,
            "words",
            self.words,
            4 * u64::from(self.word_count),
            4,
        )?;
        let rows = u64::from(self.row_count);
        let reach = rows.saturating_sub(1) * stride + u64::from(self.row_words);
        let rows_bytes = if rows == 0 { 0 } else { 4 * reach };
        holds(operation, "rows", self.rows, rows_bytes, 4)?;
        Ok(Parameters {
            from: self.from.address(),
            words: self.words.address(),
            rows: self.rows.address(),
            word_count: self.word_count,
            row_count: self.row_count,
            row_words: self.row_words,
            row_stride: self.row_stride,
        })
    }
}

/// What [`StepInputs`] does, on the CPU.
///
/// # Panics
/// If a list is too short.
pub fn reference(
    from: &[u32],
    words: &mut [u32],
    rows: &mut [u32],
    row_words: usize,
    row_stride: usize,
) {
    let (head, table) = from.split_at(words.len());
    words.copy_from_slice(head);
    if row_words == 0 {
        return;
    }
    for (row, values) in table.chunks_exact(row_words).enumerate() {
        rows[row * row_stride..][..row_words].copy_from_slice(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_what_lies_behind_their_words() {
        let (mut words, mut rows) = ([0; 2], [9; 6]);
        reference(&[1, 2, 3, 4, 5, 6], &mut words, &mut rows, 2, 3);
        assert_eq!((words, rows), ([1, 2], [3, 4, 9, 5, 6, 9]));
    }

    #[test]
    fn a_row_wider_than_its_stride_and_a_short_list_are_refused() {
        let good = InputLists {
            from: View::new(0, 4 * (5 + 3 * 7)),
            words: View::new(0, 20),
            rows: View::new(0, 4 * (2 * 8 + 7)),
            word_count: 5,
            row_count: 3,
            row_words: 7,
            row_stride: 8,
        };
        assert!(good.check().is_ok());
        assert!(
            InputLists {
                row_stride: 6,
                ..good
            }
            .check()
            .is_err()
        );
        let more = InputLists {
            row_count: 4,
            ..good
        };
        assert!(matches!(
            more.check(),
            Err(ArgumentError::TooShort { name: "from", .. })
        ));
    }
}
