//! Decimal seconds to integers, as Python's `Decimal` rounds them: to nearest, ties to even.

use super::OracleError;

/// `text` (a plain decimal number, not negative) times 10^`digits`, rounded.
///
/// # Errors
/// If it is not such a number, or too large.
pub(super) fn parse(text: &str, flag: &'static str, digits: u32) -> Result<u64, OracleError> {
    scaled(text, digits).ok_or_else(|| OracleError::Argument {
        flag,
        what: format!("`{text}` is not a decimal number of seconds, such as 0.008"),
    })
}

/// As [`parse`]; `None` where that is an error.
pub(super) fn scaled(text: &str, digits: u32) -> Option<u64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let figures = format!("{whole}{fraction}");
    if !figures.bytes().all(|b| b.is_ascii_digit()) || figures.len() > 36 {
        return None;
    }
    let value: u128 = figures.parse().ok()?;
    let shift = exponent + digits as i32 - fraction.len() as i32;
    let result = if shift >= 0 {
        value.checked_mul(10u128.checked_pow(shift as u32)?)?
    } else {
        let Some(divisor) = 10u128.checked_pow(shift.unsigned_abs()) else {
            return Some(0);
        };
        let (quotient, rest) = (value / divisor, value % divisor);
        let up = rest * 2 > divisor || (rest * 2 == divisor && quotient % 2 == 1);
        quotient + u128::from(up)
    };
    u64::try_from(result).ok()
}

#[cfg(test)]
mod tests {
    use super::scaled;

    #[test]
    fn ties_go_to_the_even_neighbour() {
        assert_eq!(scaled("0.0000000005", 9), Some(0));
        assert_eq!(scaled("0.0000000015", 9), Some(2));
        assert_eq!(scaled("0.00000000150001", 9), Some(2));
    }

    #[test]
    fn all_spellings_of_a_number_are_read() {
        for text in ["12.5", "12.50", "1.25e1", "125E-1"] {
            assert_eq!(scaled(text, 9), Some(12_500_000_000), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", ".", "-1", "1s", "nan", "1e99"] {
            assert_eq!(scaled(text, 9), None, "{text}");
        }
    }
}
