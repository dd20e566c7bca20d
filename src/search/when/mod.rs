//! Phrases of time in a question ("yesterday", "between March and May", "since the last snapshot"), as exact ranges in the
//! host's time zone.
//!
//! The rules, each with its cases in `tests/search/times.tsv`:
//! - Days go from the first instant of their date to the first of the next one's, whatever the clocks do in between. Weeks
//!   are ISO's, from Monday.
//! - A named period (this week, in March) is all of it; only what counts back (in the last 3 days) ends now.
//! - A weekday is the latest one before today; a month or a day without a year the latest that has begun.
//! - `since` begins where its point begins, `after` where it ends; `before` ends where its point begins, `until` where it ends.
//!   With something that was on a day ("since the upgrade on 9 June") that whole day belongs to it.
//! - Between two days, months or years both are meant whole; between two times of day from the first up to the second.

mod point;

use std::ops::Range;

use jiff::civil::{Date, Time};
use jiff::{SignedDuration, Span, Timestamp, ToSpan, Zoned};

use self::point::{Now, Part, Period, Point};
use super::words::{Word, day_number, month, number, ordinal, weekday, words, year};

/// From an instant on, up to another that is not part of it; each perhaps left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    /// The first instant.
    pub since: Option<Timestamp>,
    /// The first instant after it.
    pub until: Option<Timestamp>,
}

impl TimeRange {
    /// Whether no instant is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.since.zip(self.until).is_some_and(|(since, until)| since >= until)
    }

    /// As whole seconds: the first, and the first after it. A range begins and ends between two only where its phrase does
    /// ("in the last hour").
    #[must_use]
    pub fn seconds(self) -> (Option<i64>, Option<i64>) {
        let up = |at: Timestamp| at.as_second() + i64::from(at.subsec_nanosecond() > 0);
        (self.since.map(up), self.until.map(up))
    }

    /// What is in both; nothing may be, then `since` is not before `until`.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let later = |a: Option<Timestamp>, b: Option<Timestamp>| a.max(b);
        let earlier = |a: Option<Timestamp>, b: Option<Timestamp>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { since: later(self.since, other.since), until: earlier(self.until, other.until) }
    }
}

/// A phrase that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase {
    /// What it means.
    pub range: TimeRange,
    /// Where it stands in the question, in bytes.
    pub span: Range<usize>,
}

/// When something last happened, by what it is called in words ("snapshot", "doctor fix"); `None` where that names nothing.
pub type LastTime<'a> = &'a dyn Fn(&str) -> Option<Timestamp>;

/// The phrases of time in a question that is asked now, in the time zone of `now`.
#[must_use]
pub fn find(text: &str, now: &Zoned, last: LastTime<'_>) -> Vec<Phrase> {
    let words = words(text);
    let parser = Parser { words: &words, now: Now::new(now), last };
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        match parser.phrase(at) {
            Some((range, next)) => {
                found.push(Phrase { range, span: words[at].span.start..words[next - 1].span.end });
                at = next;
            }
            None => at += 1,
        }
    }
    found
}

/// What may stand before a point and adds nothing to it.
const BEFORE_POINT: [&str; 9] = ["in", "on", "at", "over", "during", "within", "of", "for", "from"];

/// Days that are called by a name: day, month.
const HOLIDAYS: [(&str, i8, i8); 6] = [
    ("new year's eve", 31, 12),
    ("new year’s eve", 31, 12),
    ("new year's day", 1, 1),
    ("christmas eve", 24, 12),
    ("christmas day", 25, 12),
    ("boxing day", 26, 12),
];

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

struct Parser<'a> {
    words: &'a [Word],
    now: Now,
    last: LastTime<'a>,
}

/// What was read, and the index of the first word behind it.
type Read<T> = Option<(T, usize)>;

impl Parser<'_> {
    fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", |word| &word.text)
    }

    fn is(&self, at: usize, any: &[&str]) -> bool {
        at < self.words.len() && any.contains(&self.word(at))
    }

    /// These words, one after the other.
    fn are(&self, at: usize, all: &str) -> Option<usize> {
        let mut next = at;
        for word in all.split(' ') {
            if self.word(next) != word {
                return None;
            }
            next += 1;
        }
        Some(next)
    }

    /// Past words that may be left out.
    fn past(&self, mut at: usize, any: &[&str]) -> usize {
        while self.is(at, any) {
            at += 1;
        }
        at
    }

    fn phrase(&self, at: usize) -> Read<TimeRange> {
        self.range(at).or_else(|| self.open(at)).or_else(|| {
            let behind = self.past(at, &BEFORE_POINT);
            let (point, next) = self.point(behind, behind > at)?;
            let Period { since, until } = self.now.period(&point)?;
            Some((TimeRange { since: Some(since), until: Some(until) }, next))
        })
    }

    /// "between A and B", "from A to B".
    fn range(&self, at: usize) -> Read<TimeRange> {
        let between = match self.word(at) {
            "between" => &["and"][..],
            "from" => &["to", "until", "till", "through", "up"][..],
            _ => return None,
        };
        let (first, next) = self.end_of_range(at + 1)?;
        if !self.is(next, between) {
            return None;
        }
        let (second, next) =
            self.end_of_range(self.past(next, &["to", "until", "till", "through", "up", "and"]))?;
        let end = self.now.period(&second)?;
        let begin = self.now.period(&self.now.before(first, &second)?)?;
        let clock = matches!(second, Point::Clock { .. });
        let until = if clock { end.since } else { end.until };
        (begin.since < until).then_some((TimeRange { since: Some(begin.since), until: Some(until) }, next))
    }

    /// One of two points: that may be a day of a month that the other one names.
    fn end_of_range(&self, at: usize) -> Read<Point> {
        let at = self.past(at, &["in", "on", "at", "the"]);
        self.point(at, true).or_else(|| {
            Some((Point::Day { day: day_number(self.word(at))?, month: None, year: None }, at + 1))
        })
    }

    /// "since X", "after X", "before X", "until X".
    fn open(&self, at: usize) -> Read<TimeRange> {
        let how = self.word(at);
        if !matches!(how, "since" | "after" | "before" | "until" | "till") {
            return None;
        }
        let behind = self.past(at + 1, &["in", "on", "at"]);
        let point = self.point(behind, true).and_then(|(point, next)| Some((self.now.period(&point)?, next)));
        let Some((period, next)) = point.or_else(|| self.event(behind)) else {
            // At what time of its day it was is not said.
            let (Period { since, until }, next) = self.what_was_on(behind)?;
            let later = matches!(how, "since" | "after");
            let range = TimeRange { since: later.then_some(since), until: (!later).then_some(until) };
            return Some((range, next));
        };
        let range = match how {
            "since" => TimeRange { since: Some(period.since), until: None },
            "after" => TimeRange { since: Some(period.until), until: None },
            "before" => TimeRange { since: None, until: Some(period.since) },
            _ => TimeRange { since: None, until: Some(period.until) },
        };
        Some((range, next))
    }

    /// "the upgrade on 9 June": that day.
    fn what_was_on(&self, at: usize) -> Read<Period> {
        (at + 1..=at + 4).take_while(|on| !self.is(on - 1, &["and", "or", "on"])).find_map(|on| {
            let (day, next) = self.is(on, &["on"]).then(|| self.plain_day(on + 1, true)).flatten()?;
            Some((self.now.period(&day)?, next))
        })
    }

    /// "the last snapshot": when that was, to the second that the ledger knows.
    fn event(&self, at: usize) -> Read<Period> {
        let behind = self.past(at, &["the", "my", "our"]);
        if !self.is(behind, &["last", "latest", "previous"]) {
            return None;
        }
        let from = behind + 1;
        (from + 1..=(from + 3).min(self.words.len())).rev().find_map(|next| {
            let name: Vec<&str> = (from..next).map(|at| self.word(at)).collect();
            let since = (self.last)(&name.join(" "))?;
            Some((Period { since, until: since.checked_add(SECOND).ok()? }, next))
        })
    }

    /// The longest point that begins here. Where nothing before it says that it is a time, words that may be something
    /// else ("may", "2025") are not taken for one.
    fn point(&self, at: usize, expected: bool) -> Read<Point> {
        let whole = |(period, next)| (Point::Whole(period), next);
        [
            self.clock(at),
            self.day(at, expected),
            self.month(at, expected),
            self.calendar(at, expected).map(whole),
            self.rolling(at).map(whole),
        ]
        .into_iter()
        .flatten()
        .max_by_key(|(_, next)| *next)
    }

    /// A time of day, and perhaps of which day: "10:00", "03:00 yesterday", "09:32 on 6 October 2025".
    fn clock(&self, at: usize) -> Read<Point> {
        let (time, length, next) = self.time_of_day(at)?;
        let behind = self.past(next, &["on", "of", "in"]);
        let of = self.plain_day(behind, true).and_then(|(day, next)| Some((self.now.date(&day)?, next)));
        let (day, next) = of.map_or((None, next), |(day, next)| (Some(day), next));
        Some((Point::Clock { at: time, length, day }, next))
    }

    fn time_of_day(&self, at: usize) -> Option<(Time, SignedDuration, usize)> {
        let word = self.word(at);
        match word {
            "noon" => return Some((Time::constant(12, 0, 0, 0), MINUTE, at + 1)),
            "midnight" => return Some((Time::midnight(), MINUTE, at + 1)),
            _ => {}
        }
        // "10am", "10 pm"
        let joined = ["am", "pm"].iter().find_map(|half| Some((word.strip_suffix(half)?, *half, at + 1)));
        let apart = || self.is(at + 1, &["am", "pm"]).then(|| (word, self.word(at + 1), at + 2));
        if let Some((clock, half, next)) = joined.or_else(apart) {
            let (hour, minute, length) = match clock.split_once(':') {
                Some((hour, minute)) => (hour, minute.parse().ok()?, MINUTE),
                None => (clock, 0, HOUR),
            };
            let hour: i8 = hour.parse().ok().filter(|hour| (1..=12).contains(hour))?;
            let hour = hour % 12 + if half == "pm" { 12 } else { 0 };
            return Some((Time::new(hour, minute, 0, 0).ok()?, length, next));
        }
        let (time, length) = clock_time(word)?;
        Some((time, length, at + 1))
    }

    /// A day, and perhaps a part of it or a time: "yesterday", "Friday evening", "2026-03-03 10:00", "today at 10:00".
    fn day(&self, at: usize, expected: bool) -> Read<Point> {
        if let Some(next) = self.are(at, "last night") {
            let today = self.now.today;
            let evening = today.yesterday().ok()?.at(18, 0, 0, 0);
            let period =
                Period { since: self.now.instant(evening)?, until: self.now.instant(today.at(6, 0, 0, 0))? };
            return Some((Point::Whole(period), next));
        }
        if self.is(at, &["this"]) {
            let day = Box::new(self.whole_day(self.now.today)?);
            return Some((Point::PartOf { day, part: self.part(at + 1)? }, at + 2));
        }
        // "(in) the morning of 2026-03-03"
        let behind = self.past(at, &["the"]);
        if let (Some(part), true) = (self.part(behind), self.is(behind + 1, &["of", "on"])) {
            let (day, next) = self.plain_day(self.past(behind + 2, &["the"]), true)?;
            return Some((Point::PartOf { day: Box::new(day), part }, next));
        }
        // "2026-03-03T10:00"
        let parts = self.word(at).split_once('t').map(|(date, time)| (iso_date(date), clock_time(time)));
        if let Some((Some(date), Some((time, length)))) = parts {
            return Some((Point::Clock { at: time, length, day: Some(date) }, at + 1));
        }
        let (day, next) = self.plain_day(at, expected)?;
        if let Some(part) = self.part(next) {
            return Some((Point::PartOf { day: Box::new(day), part }, next + 1));
        }
        if let Some((time, length, after)) = self.time_of_day(self.past(next, &["at"])) {
            return Some((Point::Clock { at: time, length, day: Some(self.now.date(&day)?) }, after));
        }
        Some((day, next))
    }

    fn part(&self, at: usize) -> Option<Part> {
        Some(match self.word(at) {
            "night" => Part(0, 6),
            "morning" => Part(6, 12),
            "afternoon" => Part(12, 18),
            "evening" => Part(18, 24),
            _ => return None,
        })
    }

    fn whole_day(&self, day: Date) -> Option<Point> {
        Some(Point::Whole(self.now.so_many_days(day, 1)?))
    }

    fn days_ago(&self, days: i32) -> Option<Point> {
        self.whole_day(self.now.today.checked_sub(days.days()).ok()?)
    }

    fn plain_day(&self, at: usize, expected: bool) -> Read<Point> {
        if let Some(next) = self.are(self.past(at, &["the"]), "day before yesterday") {
            return Some((self.days_ago(2)?, next));
        }
        match self.word(at) {
            "today" => return Some((self.days_ago(0)?, at + 1)),
            "yesterday" => return Some((self.days_ago(1)?, at + 1)),
            _ => {}
        }
        if let (Some(days), true, true) =
            (number(self.word(at)), self.is(at + 1, &["day", "days"]), self.is(at + 2, &["ago"]))
        {
            return Some((self.days_ago(days)?, at + 3));
        }
        if let Some(date) = iso_date(self.word(at)) {
            return Some((self.whole_day(date)?, at + 1));
        }
        self.weekday(at, expected).or_else(|| self.day_of_month(at))
    }

    /// "Tuesday", "last Tuesday", "Tuesday last week".
    fn weekday(&self, at: usize, expected: bool) -> Read<Point> {
        let last = self.is(at, &["last"]);
        let at = at + usize::from(last);
        let word = self.word(at);
        let day = weekday(word).filter(|_| expected || last || word.ends_with("day"))?;
        let monday = Now::monday(self.now.today)?;
        let (week, next) = if let Some(next) = self.are(at + 1, "last week") {
            (monday.checked_sub(7.days()).ok(), next)
        } else if let Some(next) = self.are(at + 1, "this week") {
            (Some(monday), next)
        } else {
            (None, at + 1)
        };
        Some((Point::Weekday { day, week }, next))
    }

    /// "3 March", "the 3rd of March 2026", "March 3, 2026", "Christmas Eve".
    fn day_of_month(&self, at: usize) -> Read<Point> {
        for (name, day, month) in HOLIDAYS {
            if let Some(next) = self.are(at, name) {
                let (year, next) = self.year_of(next);
                return Some((Point::Day { day, month: Some(month), year }, next));
            }
        }
        let first = self.past(at, &["the"]);
        let (day, month, next) = if let Some(month) = month(self.word(first)) {
            (day_number(self.word(first + 1))?, month, first + 2)
        } else {
            let behind = self.past(first + 1, &["of"]);
            (day_number(self.word(first))?, month(self.word(behind))?, behind + 1)
        };
        let (year, next) = self.year_of(next);
        Some((Point::Day { day, month: Some(month), year }, next))
    }

    /// The year that follows a month, if one does.
    fn year_of(&self, at: usize) -> (Option<i16>, usize) {
        let behind = self.past(at, &["of"]);
        match year(self.word(behind)) {
            Some(year) => (Some(year), behind + 1),
            None => (None, at),
        }
    }

    /// "March", "March 2026", "2026-03".
    fn month(&self, at: usize, expected: bool) -> Read<Point> {
        if let Some((year_text, month_text)) = self.word(at).split_once('-') {
            let month =
                month_text.parse().ok().filter(|month| month_text.len() == 2 && (1..=12).contains(month))?;
            return Some((Point::Month { month, year: Some(year(year_text)?) }, at + 1));
        }
        let month = month(self.word(at))?;
        let (year, next) = self.year_of(at + 1);
        (expected || year.is_some()).then_some((Point::Month { month, year }, next))
    }

    /// Weeks, quarters, years, weekends.
    fn calendar(&self, at: usize, expected: bool) -> Read<Period> {
        let now = &self.now;
        if let Some(year) = year(self.word(at)).filter(|_| expected) {
            return Some((now.months(year, 1, 12)?, at + 1));
        }
        if let Some((text, week)) = self.word(at).split_once("-w") {
            return Some((now.iso_week(year(text)?, week.parse().ok()?)?, at + 1));
        }
        self.named(at)
            .or_else(|| self.before_last(at))
            .or_else(|| self.weekend(at, expected))
            .or_else(|| self.quarter(at))
            .or_else(|| self.week(at))
            .or_else(|| self.ago(at))
    }

    /// "this week", "last quarter".
    fn named(&self, at: usize) -> Read<Period> {
        let now = &self.now;
        let at = self.past(at, &["the"]);
        let back = match self.word(at) {
            "this" | "current" => 0,
            "last" | "previous" => 1,
            _ => return None,
        };
        let month = |months: i32| {
            let first = now.today.first_of_month().checked_sub(months.months()).ok()?;
            Some((first.year(), first.month()))
        };
        let period = match self.word(at + 1) {
            "week" => now.so_many_days(Now::monday(now.today)?.checked_sub((7 * back).days()).ok()?, 7),
            "month" => month(back).and_then(|(year, month)| now.months(year, month, 1)),
            "quarter" => {
                let into = (i32::from(now.today.month()) - 1) % 3;
                month(into + 3 * back).and_then(|(year, month)| now.months(year, month, 3))
            }
            "year" => now.months(now.today.year() - i16::try_from(back).ok()?, 1, 12),
            _ => None,
        };
        Some((period?, at + 2))
    }

    /// "the week before last".
    fn before_last(&self, at: usize) -> Read<Period> {
        let next = self.are(self.past(at, &["the"]), "week before last")?;
        Some((self.now.so_many_days(Now::monday(self.now.today)?.checked_sub(14.days()).ok()?, 7)?, next))
    }

    /// "the weekend": the last one that has begun. "last weekend", asked on one, is the one before it.
    fn weekend(&self, at: usize, expected: bool) -> Read<Period> {
        let last = self.is(at, &["last"]);
        let behind = self.past(at, &["the", "last"]);
        if !self.is(behind, &["weekend"]) || !(expected || last) {
            return None;
        }
        let monday = Now::monday(self.now.today)?;
        let on_one = self.now.today.weekday().to_monday_zero_offset() >= 5;
        let back = if on_one && !last { -5 } else { 2 };
        Some((self.now.so_many_days(monday.checked_sub(back.days()).ok()?, 2)?, behind + 1))
    }

    /// "Q3 2026", "the first quarter of 2026".
    fn quarter(&self, at: usize) -> Read<Period> {
        let at = self.past(at, &["the"]);
        let (quarter, next) = if let [b'q', digit @ b'1'..=b'4'] = self.word(at).as_bytes() {
            ((digit - b'0').cast_signed(), at + 1)
        } else {
            let ordinal = ordinal(self.word(at))?;
            self.is(at + 1, &["quarter"]).then_some((ordinal, at + 2))?
        };
        let month = quarter * 3 - 2;
        let (year, next) = self.year_of(next);
        let year = match year {
            Some(year) => year,
            None => self.now.latest_year(|year| Date::new(year, month, 1).ok())?,
        };
        Some((self.now.months(year, month, 3)?, next))
    }

    /// "week 10 of 2026", "the week of 3 March", "the first week of March".
    fn week(&self, at: usize) -> Read<Period> {
        let at = self.past(at, &["the"]);
        if let Some(week) = ordinal(self.word(at)) {
            let next = self.are(at + 1, "week of").or_else(|| self.are(at + 1, "week in"))?;
            let (month, next) = self.month(next, true)?;
            let from = self.now.first_of(&month)?.checked_add((7 * (i32::from(week) - 1)).days()).ok()?;
            return Some((self.now.so_many_days(from, 7)?, next));
        }
        if !self.is(at, &["week"]) {
            return None;
        }
        if self.is(at + 1, &["of"]) {
            let (day, next) = self.plain_day(self.past(at + 2, &["the"]), true)?;
            return Some((self.now.so_many_days(Now::monday(self.now.date(&day)?)?, 7)?, next));
        }
        let week = i8::try_from(number(self.word(at + 1))?).ok()?;
        let (year, next) = self.year_of(at + 2);
        Some((self.now.iso_week(year.unwrap_or(self.now.today.year()), week)?, next))
    }

    /// "two weeks ago", "3 months ago": that week, that month.
    fn ago(&self, at: usize) -> Read<Period> {
        let count = match self.word(at) {
            "a" => 1,
            word => number(word)?,
        };
        if !self.is(at + 2, &["ago"]) {
            return None;
        }
        let then = |back: Span| self.now.today.checked_sub(back).ok();
        let period = match self.word(at + 1) {
            "week" | "weeks" => self.now.so_many_days(Now::monday(then(count.weeks())?)?, 7),
            "month" | "months" => {
                then(count.months()).and_then(|day| self.now.months(day.year(), day.month(), 1))
            }
            "year" | "years" => then(count.years()).and_then(|day| self.now.months(day.year(), 1, 12)),
            _ => None,
        };
        Some((period?, at + 3))
    }

    /// "the last 3 days", "past two hours", "the last hour": up to now.
    fn rolling(&self, at: usize) -> Read<Period> {
        let at = self.past(at, &["the"]);
        if !self.is(at, &["last", "past"]) {
            return None;
        }
        let past = self.is(at, &["past"]);
        let (count, unit) = number(self.word(at + 1)).map_or((None, at + 1), |count| (Some(count), at + 2));
        let plain = count.unwrap_or(1);
        let back = match self.word(unit) {
            "minute" | "minutes" | "min" | "mins" => plain.minutes(),
            "hour" | "hours" => plain.hours(),
            "day" | "days" => plain.days(),
            // "last week" is the calendar's.
            "week" | "weeks" if past || count.is_some() => plain.weeks(),
            "month" | "months" if past || count.is_some() => plain.months(),
            "year" | "years" if past || count.is_some() => plain.years(),
            _ => return None,
        };
        let since = self.now.at.checked_sub(back).ok()?.timestamp();
        Some((Period { since, until: self.now.at.timestamp() }, unit + 1))
    }
}

/// `10:00`, `10:00:30`, and how long what is so written lasts.
fn clock_time(word: &str) -> Option<(Time, SignedDuration)> {
    let mut parts = word.split(':').map(|part| {
        let plain = part.len() == 2 || (part.len() == 1 && word.starts_with(part));
        part.parse::<i8>().ok().filter(|_| plain && part.bytes().all(|b| b.is_ascii_digit()))
    });
    let (hour, minute) = (parts.next()??, parts.next()??);
    let (second, length) = match parts.next() {
        None => (0, MINUTE),
        Some(second) => (second?, SECOND),
    };
    if parts.next().is_some() {
        return None;
    }
    Some((Time::new(hour, minute, second, 0).ok()?, length))
}

/// `2026-03-03`.
fn iso_date(word: &str) -> Option<Date> {
    let shaped = word.len() == 10
        && word
            .bytes()
            .enumerate()
            .all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() });
    shaped.then(|| word.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(text: &str) -> Vec<(String, TimeRange)> {
        let now: Zoned = "2026-11-18T15:00:00+01:00[Europe/Berlin]".parse().unwrap();
        let snapshot: Timestamp = "2026-11-16T08:00:00Z".parse().unwrap();
        find(text, &now, &|what| (what == "snapshot").then_some(snapshot))
            .into_iter()
            .map(|phrase| (text[phrase.span].to_owned(), phrase.range))
            .collect()
    }

    #[test]
    fn the_phrase_alone_is_taken_out_of_a_question() {
        for (question, phrase) in [
            ("What containers were created yesterday?", "yesterday"),
            ("who deleted web-01 between March and May, and why", "between March and May"),
            ("show container operations in the last 3 days please", "in the last 3 days"),
            ("what changed since the last snapshot", "since the last snapshot"),
        ] {
            let found = ranges(question);
            assert_eq!(found.len(), 1, "{question}: {found:?}");
            assert_eq!(found[0].0, phrase);
        }
    }

    #[test]
    fn what_is_no_time_is_left() {
        for question in [
            "may containers be created",
            "march on",
            "web-01",
            "container 2025",
            "the second container",
            "last container",
            "3 cores",
            "db-2026-03-03x",
            "10 containers",
            "since web-01",
            "from web-01 to web-02",
            "at 25:00",
            "on 2026-02-30",
            "between web-01 and web-02",
            "",
            "the last",
            "in",
            "since",
            "between",
            "between March",
            "week",
            "week 60",
        ] {
            assert_eq!(ranges(question), [], "{question}");
        }
    }

    #[test]
    fn ranges_are_cut_with_one_another() {
        let found = ranges("yesterday since 10:00 yesterday");
        assert_eq!(found.len(), 2);
        let both = found[0].1.and(found[1].1);
        assert_eq!((both.since, both.until), (found[1].1.since, found[0].1.until));
    }
}
