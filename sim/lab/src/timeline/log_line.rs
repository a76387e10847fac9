//! Reads the decision log back, a line at a time.

use model::Time;

/// A line of the decision log, taken apart: `12.000000345 s17 t3 keep done 132`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// When.
    pub at: Time,
    /// Whose KV.
    pub session: u32,
    /// In which turn, or after which.
    pub turn: u32,
    /// What, in the words of the log.
    pub what: &'a str,
}

impl<'a> LogLine<'a> {
    /// `None` if the line is not of that form.
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.splitn(4, ' ');
        let at = parse_time(words.next()?)?;
        let session = words.next()?.strip_prefix('s')?.parse().ok()?;
        let turn = words.next()?.strip_prefix('t')?.parse().ok()?;
        Some(Self {
            at,
            session,
            turn,
            what: words.next()?,
        })
    }
}

/// Reads `12.000000345` back, without a detour over floating point.
fn parse_time(text: &str) -> Option<Time> {
    let (seconds, nanos) = text.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    let nanos: u64 = (nanos.len() == 9).then(|| nanos.parse().ok())??;
    Some(Time(
        seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_taken_apart() {
        let line = LogLine::parse("12.000000345 s17 t3 keep done 132").expect("it is one");
        assert_eq!(
            (line.at, line.session, line.turn),
            (Time(12_000_000_345), 17, 3)
        );
        assert_eq!(line.what, "keep done 132");
        assert_eq!(LogLine::parse("12.0 s17 t3 keep done 132"), None);
        assert_eq!(LogLine::parse("12.000000345 s17 keep"), None);
    }
}
