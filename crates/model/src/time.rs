//! Orthanc's text form of times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `20261124T101530`, UTC (Orthanc: `ReceptionDate`, `LastUpdate`, `Date` of changes).
pub fn iso(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

/// `20261124T101530.123456`, UTC (Orthanc: times of jobs).
pub fn iso_micros(time: SystemTime) -> String {
    let micros = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).subsec_micros();
    format!("{}.{micros:06}", iso(time))
}

/// Now, in Orthanc's form.
pub fn now_iso() -> String {
    iso(SystemTime::now())
}

/// The proleptic Gregorian date of a number of days since 1970-01-01, counted in 400-year eras that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_gregorian() {
        for (seconds, expected) in [
            (0, "19700101T000000"),
            (951_782_399, "20000228T235959"),
            (951_782_400, "20000229T000000"),
            (4_107_542_399, "21000228T235959"),
            (4_107_542_400, "21000301T000000"),
        ] {
            assert_eq!(iso(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
