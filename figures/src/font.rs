//! The one typeface of every figure: Noto Sans, from the bytes of the crate `ttf-noto-sans`.
//!
//! Text is measured and drawn with the same bytes, and no font of the machine is ever consulted, so a
//! figure looks the same everywhere and a label that fits here fits there.
//!
//! **Absent on purpose:** a bold face. With two fonts on a page svg2pdf 0.13 lists them in the order of a
//! hash map, and the PDF would differ from one run to the next.

use ab_glyph::{Font, FontRef};
use resvg::usvg::fontdb;
use std::sync::{Arc, LazyLock};

/// Family name as written in the font file.
pub(crate) const FAMILY: &str = "Noto Sans";

/// What a viewer of the bare SVG may use instead: families about as wide.
pub(crate) const FAMILIES: &str = "Noto Sans, Helvetica, Arial, Liberation Sans, sans-serif";

/// Height of a capital or a digit, in units of the font size (OS/2 table of Noto Sans: 714 / 1000).
pub(crate) const CAP_HEIGHT: f64 = 0.714;

static REGULAR: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    FontRef::try_from_slice(ttf_noto_sans::REGULAR).expect("the shipped font is well-formed")
});

static DATABASE: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(ttf_noto_sans::REGULAR.to_vec());
    fonts.set_sans_serif_family(FAMILY);
    Arc::new(fonts)
});

/// The fonts that rendering may use: these and no others.
pub(crate) fn database() -> Arc<fontdb::Database> {
    Arc::clone(&DATABASE)
}

/// Width of `text` set in `size` points, in points. Kerning is left out: it only narrows.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    let per_em = f64::from(REGULAR.units_per_em().expect("a font has an em"));
    let advance = |c| f64::from(REGULAR.h_advance_unscaled(REGULAR.glyph_id(c)));
    text.chars().map(advance).sum::<f64>() * size / per_em
}

/// Size of a raised exponent, in units of the size of its base.
pub(crate) const EXPONENT: f64 = 0.7;

/// Width of a tick label: as [`width`], but what follows a `^` is a raised exponent.
pub(crate) fn label_width(label: &str, size: f64) -> f64 {
    match label.split_once('^') {
        Some((base, raised)) => width(base, size) + width(raised, size * EXPONENT),
        None => width(label, size),
    }
}

/// `text`, or as much of its beginning and its end as fits into `room` points, around an ellipsis: two
/// variants of one policy differ at the end.
pub(crate) fn fit(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let chars: Vec<char> = text.chars().collect();
    (1..chars.len())
        .rev()
        .map(|kept| {
            let head = kept.div_ceil(2);
            let tail = chars.len() - (kept - head);
            chars[..head]
                .iter()
                .chain(&['…'])
                .chain(&chars[tail..])
                .collect::<String>()
        })
        .find(|shown| width(shown, size) <= room)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_that_figures_print_has_a_glyph() {
        for c in "0123456789−–·×≤≥µ%…[](),.aZ".chars() {
            assert_ne!(REGULAR.glyph_id(c).0, 0, "no glyph for {c:?}");
        }
    }

    #[test]
    fn width_adds_up_over_characters_and_scales_with_size() {
        // A digit of Noto Sans is 1,171 / 2,048 em wide: 4 digits at 10.24 pt are 4 * 5.855 = 23.42 pt.
        assert!((width("2024", 10.24) - 23.42).abs() < 1e-9);
        assert!((width("2024", 5.12) - 11.71).abs() < 1e-9);
    }

    #[test]
    fn an_exponent_is_set_smaller() {
        // Two digits at 10.24 pt (11.71) and one at 7.168 pt (4.0985); the caret takes no room.
        assert!((label_width("10^3", 10.24) - 15.8085).abs() < 1e-9);
        assert!((label_width("100", 10.24) - 17.565).abs() < 1e-9);
    }

    #[test]
    fn text_that_does_not_fit_keeps_both_of_its_ends() {
        assert_eq!(fit("short", 8.0, 100.0), "short");
        let cut = fit("a-policy-with-a-very-long-name", 8.0, 60.0);
        assert!(
            cut.starts_with("a-po") && cut.ends_with("ame") && cut.contains('…'),
            "{cut}"
        );
        assert!(width(&cut, 8.0) <= 60.0);
        assert_eq!(fit("x", 8.0, 1.0), "");
    }
}
