//! Calendar dates as the wire wants them: YYYY-MM-DD, and nothing else.

/// Days of a month in the Gregorian calendar; 0 for a month that does not exist.
fn days_in(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    }
}

/// A date between 1800 and 2199: what lies outside is a typing error in a register of enterprises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CalendarDate {
    year: u16,
    month: u8,
    day: u8,
}

impl CalendarDate {
    /// The date, if the calendar has it.
    pub(crate) fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let known = (1800..=2199).contains(&year) && (1..=days_in(year, month)).contains(&day);
        known.then_some(Self { year, month, day })
    }
    /// The last day of a month.
    pub(crate) fn month_end(year: u16, month: u8) -> Option<Self> {
        Self::new(year, month, days_in(year, month))
    }
    /// From digits, each part of exactly its width; no signs, no blanks.
    pub(crate) fn from_digits(year: &str, month: &str, day: &str) -> Option<Self> {
        Self::new(digits(year, 4..=4)?, narrow(month)?, narrow(day)?)
    }
    /// YYYY-MM-DD and nothing else.
    pub(crate) fn parse_iso(s: &str) -> Option<Self> {
        let mut parts = s.split('-');
        let (y, m, d) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || m.len() != 2 || d.len() != 2 {
            return None;
        }
        Self::from_digits(y, m, d)
    }
    /// The year.
    pub(crate) fn year(self) -> u16 {
        self.year
    }
    /// The month, 1 to 12.
    pub(crate) fn month(self) -> u8 {
        self.month
    }
}

impl std::fmt::Display for CalendarDate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// An unsigned number written in `width` digits.
pub(crate) fn digits(s: &str, width: std::ops::RangeInclusive<usize>) -> Option<u16> {
    (width.contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse().ok()).flatten()
}

/// A month or a day: one or two digits.
pub(crate) fn narrow(s: &str) -> Option<u8> {
    digits(s, 1..=2).and_then(|n| u8::try_from(n).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_of_the_calendar() {
        for ok in ["2026-02-28", "2024-02-29", "2000-02-29", "1949-10-01", "2199-12-31"] {
            assert_eq!(CalendarDate::parse_iso(ok).unwrap().to_string(), ok);
        }
        for bad in [
            "2026-02-29",
            "1900-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-1-01",
            "2026-01-1",
            "26-01-01",
            "2026-01-01 ",
            "2026-01-01-",
            "2026/01/01",
            "+026-01-01",
            "2026-01-00",
            "1799-12-31",
            "2200-01-01",
            "",
            "--",
            "2026-01-\u{0663}1",
        ] {
            assert_eq!(CalendarDate::parse_iso(bad), None, "{bad}");
        }
        assert_eq!(CalendarDate::month_end(2024, 2).unwrap().to_string(), "2024-02-29");
        assert_eq!(CalendarDate::month_end(2024, 13), None);
    }
}
