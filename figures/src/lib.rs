//! Figures, tables and numbers of the paper: one file for each. They read results and nothing else.
//!
//! ```text
//!   runs, runs.csv, samples.csv, seed_table.csv, trace_stat.csv
//!        │ table()   what the figure shows, tested, written beside it as CSV
//!        ▼ svg()     axis, panel, legend on a canvas in points, in one theme
//!   <name>.svg ──► .pdf, .png  (render)
//! ```
//!
//! The same results always give the same bytes. **Absent on purpose:** statistics; percentiles and
//! metrics are those of `results`, defined there once.

mod all;
mod error;
pub mod format;
pub mod numbers;
pub mod render;

pub mod contradiction;
pub mod policy_heat;
pub mod policy_places;
pub mod seed_table;
pub mod timeline;
pub mod trace_stat;
pub mod validation;
pub mod validation_policies;
pub mod wakeup_breakdown;
pub mod wakeup_cdf;
pub mod wakeup_vs_agents;

mod axis;
mod canvas;
mod font;
mod legend;
mod matrix;
mod panel;
mod runs;
mod sweep;
mod theme;

pub use all::{ALL, Figure, by_name};
pub use error::FigureError;
pub use numbers::Numbers;
pub use runs::RunTurns;
pub use sweep::RunPoint;
