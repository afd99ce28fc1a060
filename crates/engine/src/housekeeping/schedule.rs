//! When housekeeping may work (Orthanc: `Housekeeper.Schedule`).

use chrono::{Datelike, Local, Timelike};
use model::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Hours of weekdays; none: always. Local time of the process that works.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule(Vec<Period>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Period {
    /// From Sunday, which is 0.
    day: u32,
    from: u32,
    /// This hour is not among them.
    to: u32,
}

impl Schedule {
    /// Adds hours of a day: `("Monday", "20-24")`.
    ///
    /// # Errors
    /// `BadRequest` says what was expected.
    pub fn add(&mut self, day: &str, hours: &str) -> Result<()> {
        let bad = |expected: &str| Error::new(ErrorKind::BadRequest, format!("{day} {hours:?}: expected {expected}"));
        let number = DAYS.iter().position(|name| *name == day).ok_or_else(|| bad("a day, Monday to Sunday"))?;
        let hour = |text: &str| text.trim().parse::<u32>().ok().filter(|hour| *hour <= 24);
        let both = hours.split_once('-').and_then(|(from, to)| Some((hour(from)?, hour(to)?)));
        let (from, to) = both.filter(|(from, to)| from < to).ok_or_else(|| bad("hours, such as \"20-24\""))?;
        self.0.push(Period { day: number as u32, from, to });
        Ok(())
    }

    /// Whether this is the time.
    pub(crate) fn allows_now(&self) -> bool {
        let now = Local::now();
        self.allows(now.weekday().num_days_from_sunday(), now.hour())
    }

    fn allows(&self, day: u32, hour: u32) -> bool {
        self.0.is_empty() || self.0.iter().any(|p| p.day == day && (p.from..p.to).contains(&hour))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_those_of_their_day() {
        let mut schedule = Schedule::default();
        assert!(schedule.allows(3, 12), "none: always");
        for (day, hours) in [("Monday", "0-6"), ("Monday", "20-24"), ("Sunday", "0-24")] {
            schedule.add(day, hours).unwrap();
        }
        let monday: Vec<u32> = (0..24).filter(|hour| schedule.allows(1, *hour)).collect();
        assert_eq!(monday, [0, 1, 2, 3, 4, 5, 20, 21, 22, 23]);
        assert!((0..24).all(|hour| schedule.allows(0, hour) && !schedule.allows(2, hour)));
        for (day, hours) in
            [("monday", "0-6"), ("Monday", "6-0"), ("Monday", "0-25"), ("Monday", "6"), ("Monday", "a-b"), ("Monday", "5-5")]
        {
            assert!(schedule.add(day, hours).is_err(), "{day} {hours}");
        }
    }
}
