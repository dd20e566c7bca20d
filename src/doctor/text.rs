//! A diagnosis for a person.

use super::{Diagnosis, State};

/// A line for each check, and below it what was found and what mends it.
#[must_use]
pub fn text(diagnosis: &Diagnosis) -> String {
    let mut text = String::new();
    let mut problems = 0;
    for check in &diagnosis.checks {
        let state = match check.state {
            State::Ok => "ok     ",
            State::Warning => "warning",
            State::Problem => "PROBLEM",
        };
        text.push_str(&format!("{state}  {:<11} {}\n", check.id, check.title));
        for finding in &check.findings {
            problems += usize::from(finding.state == State::Problem);
            text.push_str(&format!("           {}\n", finding.what));
            if let Some(mend) = &finding.mend {
                text.push_str(&format!("           next: {mend}\n"));
            }
        }
    }
    text.push_str(&match problems {
        0 => "This host is well.".to_owned(),
        1 => "One problem was found.".to_owned(),
        n => format!("{n} problems were found."),
    });
    text
}
