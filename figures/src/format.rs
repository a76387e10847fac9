//! Numbers as a reader of figures and tables wants them.

/// A number with `decimals` places and commas between thousands: `5,183`, `-1,024.5`.
pub fn grouped(value: f64, decimals: usize) -> String {
    let digits = format!("{:.decimals$}", value.abs());
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut shown = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    let zero = digits.chars().all(|c| matches!(c, '0' | '.'));
    let sign = if value < 0.0 && !zero { "-" } else { "" };
    format!("{sign}{shown}{rest}")
}

/// A number with three significant digits, all digits left of the point, commas between thousands:
/// `0.0123`, `4.57`, `368`, `5,183`. Whole numbers get no decimals.
pub fn three_digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 {
            "0".to_owned()
        } else {
            "–".to_owned()
        };
    }
    grouped(
        value,
        if value.fract() == 0.0 {
            0
        } else {
            decimals_of(value)
        },
    )
}

/// Decimals that leave three significant digits of a number other than 0, once rounded to them.
fn decimals_of(value: f64) -> usize {
    // By way of text: 9.999 rounds to 10.0, which has a digit more before the point.
    let rounded: f64 = format!("{:.2e}", value.abs()).parse().unwrap_or(1.0);
    (2 - rounded.log10().floor() as i32).clamp(0, 9) as usize
}

/// Numbers of one row with equal decimals: those that leave three significant digits of the smallest,
/// none if all are whole.
pub fn alike<const N: usize>(values: [f64; N]) -> [String; N] {
    let smallest = values
        .iter()
        .map(|v| v.abs())
        .filter(|v| *v > 0.0)
        .fold(f64::INFINITY, f64::min);
    let whole = values.iter().all(|v| v.fract() == 0.0) || !smallest.is_finite();
    let decimals = if whole { 0 } else { decimals_of(smallest) };
    values.map(|value| grouped(value, decimals))
}

/// A number with every digit it was given, commas between thousands: `124.7`, `5,183`.
pub fn as_given(value: f64) -> String {
    let decimals = value
        .to_string()
        .split_once('.')
        .map_or(0, |(_, rest)| rest.len());
    grouped(value, decimals)
}

/// A time span in the unit that suits it, three significant digits: `320 µs`, `4.57 ms`, `61.3 s`.
pub fn duration(seconds: f64) -> String {
    let size = seconds.abs();
    let (scale, unit) = match size {
        _ if size == 0.0 => (1.0, "s"),
        _ if size < 999.5e-9 => (1e9, "ns"),
        _ if size < 999.5e-6 => (1e6, "µs"),
        _ if size < 0.9995 => (1e3, "ms"),
        _ => (1.0, "s"),
    };
    let value = seconds * scale;
    let decimals = if value == 0.0 { 0 } else { decimals_of(value) };
    format!("{} {unit}", grouped(value, decimals))
}

/// `text` with the characters that TeX would act on made plain, and a minus sign as one.
pub fn tex_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', c]),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '–' => out.push_str("--"),
            '×' => out.push_str("\\ensuremath{\\times}"),
            '≤' => out.push_str("\\ensuremath{\\leq}"),
            '≥' => out.push_str("\\ensuremath{\\geq}"),
            'µ' => out.push_str("\\ensuremath{\\mu}"),
            '\n' | '\r' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(5183.0, 0), "5,183");
        assert_eq!(grouped(-1024.5, 1), "-1,024.5");
        assert_eq!(grouped(999.0, 0), "999");
        assert_eq!(grouped(1_234_567.0, 0), "1,234,567");
        assert_eq!(grouped(-0.0001, 2), "0.00");
    }

    #[test]
    fn three_digits_are_kept_and_whole_numbers_stay_whole() {
        let shown = [0.0123, 4.567, 36.81, 5183.4, 368.0, 0.0].map(three_digits);
        assert_eq!(shown, ["0.0123", "4.57", "36.8", "5,183", "368", "0"]);
        assert_eq!(three_digits(f64::NAN), "–");
    }

    #[test]
    fn numbers_of_a_row_have_equal_decimals() {
        assert_eq!(alike([98.2, 117.5, 149.63]), ["98.2", "117.5", "149.6"]);
        assert_eq!(alike([80.0, 80.0, 160.0]), ["80", "80", "160"]);
        assert_eq!(alike([0.0, 0.0]), ["0", "0"]);
        assert_eq!(alike([9.999, 20.0]), ["10.0", "20.0"]);
    }

    #[test]
    fn a_reported_number_keeps_its_digits() {
        assert_eq!(
            [124.7, 5_183.0, 0.35].map(as_given),
            ["124.7", "5,183", "0.35"]
        );
    }

    #[test]
    fn a_duration_picks_its_unit() {
        let shown = [
            0.0,
            32e-9,
            3.2e-4,
            0.004_567,
            0.3 + 1e-12,
            0.9999,
            61.25,
            12_345.6,
        ]
        .map(duration);
        assert_eq!(
            shown,
            [
                "0 s", "32.0 ns", "320 µs", "4.57 ms", "300 ms", "1.00 s", "61.2 s", "12,346 s"
            ]
        );
    }

    #[test]
    fn tex_sees_text_and_no_commands() {
        assert_eq!(
            tex_escaped("50 % of a_b & \\c"),
            "50 \\% of a\\_b \\& \\textbackslash{}c"
        );
    }
}
