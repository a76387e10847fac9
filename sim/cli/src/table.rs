//! A table of text: the first column to the left, numbers to the right, two spaces between.

/// Rows of cells; shorter rows leave the rest empty.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    left: usize,
    words_last: bool,
}

impl Table {
    /// A table with this heading.
    pub fn new(heading: &[&str]) -> Self {
        let mut table = Self {
            left: 1,
            ..Self::default()
        };
        table.row(heading.iter().copied());
        table
    }

    /// Aligns the first `columns` columns to the left.
    #[must_use]
    pub fn left(mut self, columns: usize) -> Self {
        self.left = columns;
        self
    }

    /// The last column holds words: aligns it to the left, too.
    #[must_use]
    pub fn words_last(mut self) -> Self {
        self.words_last = true;
        self
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        let heading = self.rows.first();
        debug_assert!(
            heading.is_none_or(|heading| cells.len() <= heading.len()),
            "a column has no heading: {cells:?}"
        );
        self.rows.push(cells);
    }

    /// The lines, each indented by two spaces and ended.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                line.push_str("  ");
                let words = self.words_last && column + 1 == columns;
                let padding = " ".repeat(width - cell.chars().count());
                if column < self.left || words {
                    line.extend([cell, padding.as_str()]);
                } else {
                    line.extend([padding.as_str(), cell]);
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_to_the_left_and_numbers_to_the_right() {
        let mut table = Table::new(&["", "mean"]);
        table.row(["queue", "1.00 ms"]);
        table.row(["copy"]);
        assert_eq!(
            table.render(),
            "            mean\n  queue  1.00 ms\n  copy\n"
        );
    }
}
