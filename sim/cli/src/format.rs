//! Quantities as people read them.

/// A span: three to four digits and the unit that fits, `812 ms`, `2.56 s`.
pub fn span(ns: u64) -> String {
    signed_span(ns as f64)
}

/// A span or its absence.
pub fn span_or_dash(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), span)
}

/// A difference of spans: with its sign where it is negative.
pub fn signed_span(ns: f64) -> String {
    let (value, unit) = match ns.abs() {
        size if size < 999.5 => (ns, "ns"),
        size if size < 999.5e3 => (ns / 1e3, "us"),
        size if size < 999.5e6 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    if unit == "ns" {
        format!("{value:.0} ns")
    } else {
        format!("{} {unit}", digits(value))
    }
}

/// Three significant digits, more before the point where there are more.
fn digits(value: f64) -> String {
    match value.abs() {
        size if size < 9.995 => format!("{value:.2}"),
        size if size < 99.95 => format!("{value:.1}"),
        _ => thousands(&format!("{value:.0}")),
    }
}

/// A count with a comma for every three digits.
pub fn count(value: u64) -> String {
    thousands(&value.to_string())
}

fn thousands(number: &str) -> String {
    let (sign, number) = number
        .strip_prefix('-')
        .map_or(("", number), |rest| ("-", rest));
    let mut text = sign.to_owned();
    for (i, digit) in number.chars().enumerate() {
        if i > 0 && (number.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size with a binary unit.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if value < 1 << 10 {
        return format!("{value} B");
    }
    let mut scaled = value as f64 / 1024.0;
    let mut unit = 0;
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{} {}", digits(scaled), UNITS[unit])
}

/// A rate, or a dash.
pub fn rate(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), digits)
}

/// A share in percent.
pub fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 {
        format!("{:.1} %", part / whole * 100.0)
    } else {
        "-".to_owned()
    }
}

/// `1 session`, `2 sessions`.
pub fn plural(value: u64, noun: &str) -> String {
    format!(
        "{} {noun}{}",
        count(value),
        if value == 1 { "" } else { "s" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_the_unit_that_fits_it() {
        let shown = [0, 999, 1_500, 999_499_999, 2_555_000_000, 1_234_000_000_000].map(span);
        assert_eq!(
            shown,
            ["0 ns", "999 ns", "1.50 us", "999 ms", "2.56 s", "1,234 s"]
        );
        assert_eq!(signed_span(-1.5e6), "-1.50 ms");
    }

    #[test]
    fn rounding_moves_to_the_next_unit_rather_than_show_a_thousand() {
        // 999.6 us would round to 1000 us.
        assert_eq!(span(999_600), "1.00 ms");
        assert_eq!(bytes(1_023), "1023 B");
        assert_eq!(bytes(1 << 20), "1.00 MiB");
        assert_eq!(bytes(107_374_182_400), "100 GiB");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            ["1", "999", "1000", "1234567"].map(thousands),
            ["1", "999", "1,000", "1,234,567"]
        );
        assert_eq!(thousands("-1000"), "-1,000");
    }
}
