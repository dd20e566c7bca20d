//! Points of time as they are written: a day, a month, a weekday, a time of day, each perhaps without its year or day,
//! and what each means when it is asked now.

use jiff::civil::{Date, DateTime, ISOWeekDate, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

/// From an instant on, up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) since: Timestamp,
    pub(super) until: Timestamp,
}

/// A part of a day, in hours: from, up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part(pub(super) i8, pub(super) i8);

/// A point as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Point {
    /// Nothing of it depends on anything beside it.
    Whole(Period),
    /// A day of a month; what is missing is filled in.
    Day { day: i8, month: Option<i8>, year: Option<i16> },
    /// A month.
    Month { month: i8, year: Option<i16> },
    /// A day of the week (0 is Monday), in the week that begins on that day.
    Weekday { day: i8, week: Option<Date> },
    /// A part of a day.
    PartOf { day: Box<Point>, part: Part },
    /// A time of day, as long as it is written to, of a day.
    Clock { at: Time, length: SignedDuration, day: Option<Date> },
}

/// When it is asked.
#[derive(Debug)]
pub(super) struct Now {
    pub(super) at: Zoned,
    pub(super) today: Date,
    zone: TimeZone,
}

impl Now {
    pub(super) fn new(at: &Zoned) -> Self {
        Self { today: at.date(), zone: at.time_zone().clone(), at: at.clone() }
    }

    /// The first instant at which the zone's clock shows this, or, where it never does, what it shows instead.
    pub(super) fn instant(&self, clock: DateTime) -> Option<Timestamp> {
        Some(self.zone.to_ambiguous_zoned(clock).compatible().ok()?.timestamp())
    }

    fn between(&self, since: DateTime, until: DateTime) -> Option<Period> {
        Some(Period { since: self.instant(since)?, until: self.instant(until)? })
    }

    /// Days, from one on, up to another.
    pub(super) fn days(&self, from: Date, up_to: Date) -> Option<Period> {
        self.between(from.to_datetime(Time::midnight()), up_to.to_datetime(Time::midnight()))
    }

    /// So many days from this one on.
    pub(super) fn so_many_days(&self, from: Date, days: i32) -> Option<Period> {
        self.days(from, from.checked_add(days.days()).ok()?)
    }

    /// Whole months from this one on.
    pub(super) fn months(&self, year: i16, month: i8, count: i32) -> Option<Period> {
        let from = Date::new(year, month, 1).ok()?;
        self.days(from, from.checked_add(count.months()).ok()?)
    }

    /// The Monday of the week that a day is in.
    pub(super) fn monday(day: Date) -> Option<Date> {
        day.checked_sub(i32::from(day.weekday().to_monday_zero_offset()).days()).ok()
    }

    /// An ISO week.
    pub(super) fn iso_week(&self, year: i16, week: i8) -> Option<Period> {
        self.so_many_days(ISOWeekDate::new(year, week, Weekday::Monday).ok()?.date(), 7)
    }

    /// The latest year in which this has begun.
    pub(super) fn latest_year(&self, begins: impl Fn(i16) -> Option<Date>) -> Option<i16> {
        // 29 February comes every eighth year at the least.
        (0..=8)
            .map(|back| self.today.year() - back)
            .find(|year| begins(*year).is_some_and(|day| day <= self.today))
    }

    /// The latest of these days of the week before a day.
    fn latest_before(day: Date, weekday: i8) -> Option<Date> {
        let back =
            (i32::from(day.weekday().to_monday_zero_offset()) - i32::from(weekday) + 6).rem_euclid(7) + 1;
        day.checked_sub(back.days()).ok()
    }

    /// The day that a point is, where it is one.
    pub(super) fn date(&self, point: &Point) -> Option<Date> {
        match point {
            Point::Whole(period) => Some(period.since.to_zoned(self.zone.clone()).date()),
            Point::Day { day, month, year } => {
                let month = (*month)?;
                let year = match year {
                    Some(year) => *year,
                    None => self.latest_year(|year| Date::new(year, month, *day).ok())?,
                };
                Date::new(year, month, *day).ok()
            }
            Point::Weekday { day, week: Some(monday) } => monday.checked_add(i32::from(*day).days()).ok(),
            Point::Weekday { day, week: None } => Self::latest_before(self.today, *day),
            Point::PartOf { day, .. } => self.date(day),
            Point::Clock { day, .. } => Some(day.unwrap_or(self.today)),
            Point::Month { .. } => None,
        }
    }

    /// The first day of a month.
    pub(super) fn first_of(&self, month: &Point) -> Option<Date> {
        Some(self.period(month)?.since.to_zoned(self.zone.clone()).date())
    }

    /// What a point means by itself.
    pub(super) fn period(&self, point: &Point) -> Option<Period> {
        match point {
            Point::Whole(period) => Some(*period),
            Point::Day { .. } | Point::Weekday { .. } => self.so_many_days(self.date(point)?, 1),
            Point::Month { month, year } => {
                let year = match year {
                    Some(year) => *year,
                    None => self.latest_year(|year| Date::new(year, *month, 1).ok())?,
                };
                self.months(year, *month, 1)
            }
            Point::PartOf { day, part: Part(from, up_to) } => {
                let day = self.date(day)?.to_datetime(Time::midnight());
                let hour = |hour: i8| day.checked_add(i32::from(hour).hours()).ok();
                self.between(hour(*from)?, hour(*up_to)?)
            }
            Point::Clock { at, length, .. } => {
                let begin = self.date(point)?.to_datetime(*at);
                let since = self.instant(begin)?;
                // In real time: the clock may be put back within it.
                Some(Period { since, until: since.checked_add(*length).ok()? })
            }
        }
    }

    /// The first of two points with what it leaves to the second: "from 1 to 5 March 2026", "from 10:00 to 11:30 today",
    /// "between November and January".
    pub(super) fn before(&self, first: Point, second: &Point) -> Option<Point> {
        let end = self.date(second);
        Some(match (first, second) {
            (Point::Clock { at, length, day: None }, Point::Clock { day, .. }) => {
                Point::Clock { at, length, day: *day }
            }
            (Point::Day { day, month: None, .. }, Point::Day { month: Some(month), .. }) => {
                let end = end?;
                let year = if day <= end.day() { end.year() } else { end.year() - i16::from(*month == 1) };
                Point::Day { day, month: Some(*month), year: Some(year) }
            }
            (Point::Day { day, month: Some(month), year: None }, _) => {
                let end = end?;
                let year = if (month, day) <= (end.month(), end.day()) { end.year() } else { end.year() - 1 };
                Point::Day { day, month: Some(month), year: Some(year) }
            }
            (Point::Month { month, year: None }, Point::Month { month: last, .. }) => {
                let end = self.first_of(second)?.year();
                Point::Month { month, year: Some(if month <= *last { end } else { end - 1 }) }
            }
            (Point::Weekday { day, week: None }, Point::Weekday { week: Some(week), .. }) => {
                Point::Weekday { day, week: Some(*week) }
            }
            (Point::Weekday { day, week: None }, Point::Weekday { week: None, .. }) => {
                Point::Weekday { day: 0, week: Self::latest_before(end?, day) }
            }
            (first, _) => first,
        })
    }
}
