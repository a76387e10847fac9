//! Ranges of seeds and draws as text: `1..20` is 1, 2, ..., 20, both ends included.

/// The numbers of an inclusive range.
///
/// # Errors
/// What is wrong with the text, in words.
///
/// ```
/// assert_eq!(results::spec::parse_range("3..5"), Ok(vec![3, 4, 5]));
/// ```
pub fn parse_range(text: &str) -> Result<Vec<u64>, String> {
    let expected = || format!("`{text}` is no range; write `1..20` for 1 to 20, both included");
    let (first, last) = text.split_once("..").ok_or_else(expected)?;
    let number = |part: &str| part.trim().parse::<u64>().map_err(|_| expected());
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!(
            "the range `{text}` is empty, for {first} is more than {last}"
        ));
    }
    if last - first >= super::SWEEP_POINTS_MAX as u64 {
        return Err(format!(
            "the range `{text}` has more than {} numbers",
            super::SWEEP_POINTS_MAX
        ));
    }
    Ok((first..=last).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_belong_to_a_range() {
        assert_eq!(parse_range("1..3"), Ok(vec![1, 2, 3]));
        assert_eq!(parse_range(" 7 .. 7 "), Ok(vec![7]));
    }

    #[test]
    fn a_text_that_is_no_range_says_what_one_looks_like() {
        for text in [
            "", "5", "1..", "..5", "1...5", "a..b", "-1..3", "1..=5", "1.5..3",
        ] {
            let error = parse_range(text).unwrap_err();
            assert!(error.contains("write `1..20`"), "{text}: {error}");
        }
    }

    #[test]
    fn a_range_that_runs_backwards_or_never_ends_is_refused() {
        assert!(
            parse_range("20..1")
                .unwrap_err()
                .contains("20 is more than 1")
        );
        assert!(
            parse_range("0..18446744073709551615")
                .unwrap_err()
                .contains("more than 100000")
        );
    }
}
