//! From an SVG to the three files of a figure: SVG as drawn, PDF for the paper, PNG for the screen.
//!
//! Each file is written beside its final name and renamed, so that a figure is whole or absent. The same
//! SVG always gives the same bytes: nothing here knows the date, the machine or its fonts.

use crate::FigureError;
use crate::font;
use resvg::{tiny_skia, usvg};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Resolution of the PNG \[pixels per inch\].
const PNG_DPI: f32 = 300.0;
const POINTS_PER_INCH: f32 = 72.0;

/// Writes `<stem>.svg`, `<stem>.pdf` and `<stem>.png` into `folder`, which is made if absent.
///
/// # Errors
/// When a file cannot be written. A font or an SVG that does not parse is a defect of this crate and panics.
pub fn write_all(folder: &Path, stem: &str, svg: &str) -> Result<Vec<PathBuf>, FigureError> {
    let tree = parse(svg);
    let files = [
        ("svg", svg.as_bytes().to_vec()),
        ("pdf", pdf(&tree)),
        ("png", png(&tree)),
    ];
    files
        .into_iter()
        .map(|(extension, bytes)| write(&folder.join(format!("{stem}.{extension}")), &bytes))
        .collect()
}

/// As [`write_all`], and the table behind the figure as `<stem>.csv`.
///
/// # Errors
/// As [`write()`].
pub fn write_with_table<T: Serialize>(
    folder: &Path,
    stem: &str,
    svg: &str,
    rows: &[T],
) -> Result<Vec<PathBuf>, FigureError> {
    let mut files = write_all(folder, stem, svg)?;
    files.push(write_csv(&folder.join(format!("{stem}.csv")), rows)?);
    Ok(files)
}

/// Writes one file whole: first under a temporary name beside it, then renamed. Makes its folder.
///
/// # Errors
/// When it cannot be written, naming the file.
pub fn write(path: &Path, bytes: &[u8]) -> Result<PathBuf, FigureError> {
    let failed = |source| FigureError::Write {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    fs::write(&partial, bytes).map_err(failed)?;
    fs::rename(&partial, path).map_err(failed)?;
    Ok(path.to_owned())
}

/// Writes a table as CSV with a header, whole.
///
/// # Errors
/// As [`write()`].
pub fn write_csv<T: Serialize>(path: &Path, rows: &[T]) -> Result<PathBuf, FigureError> {
    let mut table = csv::Writer::from_writer(Vec::new());
    for row in rows {
        table
            .serialize(row)
            .expect("a row of plain fields, written to memory");
    }
    write(path, &table.into_inner().expect("written to memory"))
}

fn parse(svg: &str) -> usvg::Tree {
    let options = usvg::Options {
        dpi: POINTS_PER_INCH,
        font_family: font::FAMILY.to_owned(),
        fontdb: font::database(),
        ..usvg::Options::default()
    };
    debug_assert!(!Arc::clone(&options.fontdb).is_empty());
    usvg::Tree::from_str(svg, &options).expect("a well-formed SVG")
}

fn pdf(tree: &usvg::Tree) -> Vec<u8> {
    let page = svg2pdf::PageOptions {
        dpi: POINTS_PER_INCH,
    };
    svg2pdf::to_pdf(tree, svg2pdf::ConversionOptions::default(), page).expect("a convertible SVG")
}

fn png(tree: &usvg::Tree) -> Vec<u8> {
    let scale = PNG_DPI / POINTS_PER_INCH;
    let size = tree
        .size()
        .to_int_size()
        .scale_by(scale)
        .expect("a figure has an extent");
    let mut pixels =
        tiny_skia::Pixmap::new(size.width(), size.height()).expect("memory for a picture");
    resvg::render(
        tree,
        tiny_skia::Transform::from_scale(scale, scale),
        &mut pixels.as_mut(),
    );
    pixels.encode_png().expect("encoding into memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::{Align, draw};
    use crate::theme::Rgb;

    fn sample() -> String {
        draw(240.0, 150.0, |c| {
            c.text("Latency [s]", (120.0, 75.0), Align::Center, 9.0, Rgb::BLACK);
        })
    }

    #[test]
    fn a_figure_is_three_files_of_the_stated_size_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new/deep");
        let files = write_all(&out, "fig", &sample()).unwrap();
        let names: Vec<_> = files
            .iter()
            .map(|f| f.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["fig.svg", "fig.pdf", "fig.png"]);
        assert_eq!(fs::read_dir(&out).unwrap().count(), 3);
        let pdf = fs::read(&files[1]).unwrap();
        let page = String::from_utf8_lossy(&pdf).into_owned();
        assert!(
            page.contains("MediaBox[0 0 240 150]") || page.contains("MediaBox [0 0 240 150]"),
            "{page}"
        );
        // 240 pt * 300 / 72 = 1,000 pixels; 150 pt = 625. The PNG header holds them big-endian at 16.
        let png = fs::read(&files[2]).unwrap();
        assert_eq!(png[16..24], [0, 0, 3, 232, 0, 0, 2, 113]);
    }

    #[test]
    fn rendering_twice_gives_the_same_bytes() {
        let tree = parse(&sample());
        assert_eq!(pdf(&tree), pdf(&parse(&sample())));
        assert_eq!(png(&tree), png(&parse(&sample())));
    }

    #[test]
    fn text_is_drawn_though_the_machine_may_have_no_fonts() {
        let blank = draw(240.0, 150.0, |_| ());
        assert_ne!(png(&parse(&sample())), png(&parse(&blank)));
    }

    #[test]
    fn a_folder_that_is_a_file_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("taken");
        fs::write(&file, "x").unwrap();
        let error = write_all(&file, "fig", &sample()).unwrap_err().to_string();
        assert!(error.contains("taken"), "{error}");
    }
}
