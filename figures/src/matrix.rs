//! A matrix of policies by cells (a workload at a load), drawn in blocks side by side: what heat map and table of places share.
//!
//! ```text
//!                    block title            block title
//!                 weka      tau2          weka      tau2
//!               l  k  o   l  k  o       l  k  o   l  k  o
//!   policy      [] [] []  [] [] []      [] [] []  [] [] []
//! ```

use crate::canvas::{Align, Canvas, Rect, Stroke};
use crate::font;
use crate::theme::{INK, Rgb, SOFT, TICK_SIZE, TITLE_SIZE};

/// Size of the text in cells, of column titles and of row labels \[pt\].
pub(crate) const CELL_SIZE: f64 = 6.2;
const ROW_SIZE: f64 = 6.8;
/// Height of a row \[pt\].
const ROW: f64 = 9.2;
/// Room between blocks, and between workloads within one \[pt\].
const BLOCK_GAP: f64 = 9.0;
const GROUP_GAP: f64 = 2.4;
/// Room above the first row: block titles, workloads, loads \[pt\].
const BLOCK_ROW: f64 = 14.0;
const GROUP_ROW: f64 = 10.0;
const PAD: f64 = 3.0;

/// A workload at a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub workload: String,
    pub load: String,
}

/// Where everything lies on a page of a given width.
pub(crate) struct Matrix {
    pub columns: Vec<Column>,
    rows: Vec<String>,
    blocks: usize,
    left: f64,
    top: f64,
    cell_width: f64,
    block_width: f64,
    load_row: f64,
}

impl Matrix {
    /// `blocks` matrices of the same rows and columns, side by side from `top` on.
    pub(crate) fn new(
        rows: Vec<String>,
        columns: Vec<Column>,
        blocks: usize,
        width: f64,
        top: f64,
    ) -> Self {
        let label = |row: &String| font::width(row, ROW_SIZE);
        let left = rows.iter().map(label).fold(0.0, f64::max) + PAD + 4.0;
        let load = |column: &Column| font::width(&column.load, CELL_SIZE);
        // Room for an asterisk, too.
        let load_row = columns.iter().map(load).fold(0.0, f64::max) + 9.0;
        let gaps = workloads(&columns).len().saturating_sub(1) as f64 * GROUP_GAP;
        let block_width = (width - left - 4.0 - (blocks - 1) as f64 * BLOCK_GAP) / blocks as f64;
        let cell_width = (block_width - gaps) / columns.len().max(1) as f64;
        Self {
            columns,
            rows,
            blocks,
            left,
            top,
            cell_width,
            block_width,
            load_row,
        }
    }

    /// Bottom of the last row \[pt\].
    pub(crate) fn bottom(&self) -> f64 {
        self.first_row() + self.rows.len() as f64 * ROW
    }

    /// Left and right edge of a block \[pt\].
    pub(crate) fn block(&self, block: usize) -> (f64, f64) {
        let left = self.left + block as f64 * (self.block_width + BLOCK_GAP);
        (left, left + self.block_width)
    }

    /// The cell of a row and a column in a block.
    pub(crate) fn cell(&self, block: usize, row: usize, column: usize) -> Rect {
        let group = workloads(&self.columns[..=column]).len() - 1;
        let left = self.block(block).0 + column as f64 * self.cell_width + group as f64 * GROUP_GAP;
        let top = self.first_row() + row as f64 * ROW;
        Rect {
            left,
            top,
            right: left + self.cell_width,
            bottom: top + ROW,
        }
    }

    fn first_row(&self) -> f64 {
        self.top + BLOCK_ROW + GROUP_ROW + self.load_row
    }

    /// Titles of blocks, workloads and loads, and the labels of rows. `marks` says which column titles of a block carry an asterisk.
    pub(crate) fn frame(
        &self,
        canvas: &mut Canvas<'_>,
        titles: &[&str],
        marks: impl Fn(usize, usize) -> bool,
    ) {
        for (row, label) in self.rows.iter().enumerate() {
            let y = self.cell(0, row, 0).top + ROW / 2.0;
            canvas.text(label, (self.left - PAD, y), Align::Right, ROW_SIZE, INK);
        }
        for (block, title) in titles.iter().enumerate().take(self.blocks) {
            let (left, right) = self.block(block);
            let y = self.top + BLOCK_ROW / 2.0 - 1.0;
            canvas.text(
                title,
                (left.midpoint(right), y),
                Align::Center,
                TITLE_SIZE,
                INK,
            );
            for workload in workloads(&self.columns) {
                let mine = |column: &usize| self.columns[*column].workload == workload;
                let all: Vec<usize> = (0..self.columns.len()).filter(mine).collect();
                let (Some(&first), Some(&last)) = (all.first(), all.last()) else {
                    continue;
                };
                let (first, last) = (self.cell(block, 0, first), self.cell(block, 0, last));
                let middle = first.left.midpoint(last.right);
                let y = self.top + BLOCK_ROW + GROUP_ROW / 2.0 - 1.0;
                canvas.text(workload, (middle, y), Align::Center, TICK_SIZE - 0.6, INK);
                let line = self.top + BLOCK_ROW + GROUP_ROW;
                let ends = [(first.left + 1.0, line), (last.right - 1.0, line)];
                canvas.line(&ends, Stroke::solid(SOFT, 0.5));
            }
            for (column, Column { load, .. }) in self.columns.iter().enumerate() {
                let cell = self.cell(block, 0, column);
                let text = if marks(block, column) {
                    format!("{load}*")
                } else {
                    load.clone()
                };
                let centre = cell.top - 2.5 - font::width(&text, CELL_SIZE) / 2.0;
                let at = (cell.left.midpoint(cell.right), centre);
                canvas.text_upwards(&text, at, CELL_SIZE, INK);
            }
        }
    }
}

/// A cell's rectangle with a thin white seam.
pub(crate) fn inset(cell: &Rect) -> Rect {
    Rect {
        left: cell.left + 0.3,
        top: cell.top + 0.3,
        right: cell.right - 0.3,
        bottom: cell.bottom - 0.3,
    }
}

/// Nothing can be said of this cell: hatched.
pub(crate) fn hatched(canvas: &mut Canvas<'_>, cell: &Rect) {
    canvas.fill(&inset(cell), Rgb(240, 240, 240));
    canvas.hatch(&inset(cell), 2.6, Stroke::solid(Rgb::GREY, 0.5));
}

/// Workloads in order, each once.
fn workloads(columns: &[Column]) -> Vec<&str> {
    let mut names: Vec<&str> = columns
        .iter()
        .map(|column| column.workload.as_str())
        .collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let column = |workload: &str, load: &str| Column {
            workload: workload.to_owned(),
            load: load.to_owned(),
        };
        vec![
            column("a", "light"),
            column("a", "knee"),
            column("b", "light"),
        ]
    }

    #[test]
    fn cells_fill_their_block_with_a_gap_between_workloads() {
        let matrix = Matrix::new(vec!["one".into(), "two".into()], columns(), 2, 300.0, 10.0);
        let (left, right) = matrix.block(1);
        let first = matrix.cell(1, 0, 0);
        assert!((first.left - left).abs() < 1e-9);
        assert!((matrix.cell(1, 0, 2).right - right).abs() < 1e-9);
        let between = |a: usize, b: usize| matrix.cell(0, 0, b).left - matrix.cell(0, 0, a).right;
        assert!(between(0, 1).abs() < 1e-9);
        assert!((between(1, 2) - GROUP_GAP).abs() < 1e-9);
        assert!((matrix.cell(0, 1, 0).bottom - matrix.bottom()).abs() < 1e-9);
    }
}
