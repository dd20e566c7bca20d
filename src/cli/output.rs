//! Printing: for a person or, with `--json`, for a program; and the exit status.

#![allow(clippy::print_stdout, reason = "this is where the programs print")]

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use schemars::JsonSchema;
use serde::Serialize;

use crate::engine::Progress;
use crate::fault::Report;

/// Where a program prints its answer.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    /// Whether the answer is JSON.
    pub json: bool,
}

impl Out {
    /// Prints an answer: as JSON, or as `text` makes it for a person. What it is made of is what `op-dbus schema` shows:
    /// see `cli::schema`.
    pub fn answer<T: Serialize + JsonSchema>(&self, value: &T, text: impl FnOnce(&T) -> String) {
        if self.json {
            // The types printed are our own; a failure here is a broken pipe's cousin, not the user's.
            println_or_stop(&serde_json::to_string_pretty(value).unwrap_or_default());
        } else {
            let text = text(value);
            if !text.is_empty() {
                println_or_stop(text.trim_end_matches('\n'));
            }
        }
    }

    /// Says something to a person on the way; nothing with `--json`.
    pub fn note(&self, text: &str) {
        if !self.json {
            println_or_stop(text);
        }
    }

    /// Prints a text that is itself the answer, as it is, also with `--json`: a script, a page.
    pub fn text(&self, text: &[u8]) {
        let mut out = std::io::stdout().lock();
        if out.write_all(text).and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }
}

/// Prints what a command left, each to the stream it was for.
pub(super) fn streams(out: &str, err: &str) {
    if std::io::stdout().lock().write_all(out.as_bytes()).is_err() {
        std::process::exit(0);
    }
    // Nowhere is left to report that standard error is closed.
    let _ = std::io::stderr().lock().write_all(err.as_bytes());
}

/// Prints a line; a reader that went away (`| head`) ends the program quietly.
fn println_or_stop(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints an answer to standard error, where standard output is for something else.
pub(super) fn aside(text: &str) {
    // Whoever closed it does not want to know.
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end_matches('\n'));
}

/// Prints a failure to standard error, as JSON with `--json`, and gives the exit status.
#[must_use]
pub fn finish(json: bool, result: Result<(), Report>) -> ExitCode {
    let Err(report) = result else { return ExitCode::SUCCESS };
    let mut err = std::io::stderr().lock();
    // Nowhere is left to report that standard error is closed.
    let _ = if json {
        writeln!(err, "{}", serde_json::json!({ "error": report }))
    } else {
        writeln!(err, "error: {report}")
    };
    ExitCode::from(report.kind.exit_code())
}

/// Progress on the terminal: a line that moves where there is one, else a line now and then.
pub struct TerminalProgress {
    bar: Option<ProgressBar>,
    last: Mutex<Option<Instant>>,
}

impl TerminalProgress {
    /// Progress on standard error; none at all with `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, last: Mutex::new(if quiet { None } else { Some(Instant::now()) }) }
    }
}

impl Progress for TerminalProgress {
    fn report(&self, message: &str, fraction: Option<f64>) {
        let text = match fraction {
            Some(fraction) => format!("{:3.0}% {message}", fraction * 100.0),
            None => message.to_owned(),
        };
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            return;
        }
        let Ok(mut last) = self.last.lock() else { return };
        if last.is_some_and(|at| at.elapsed() >= Duration::from_secs(2)) {
            *last = Some(Instant::now());
            let _ = writeln!(std::io::stderr(), "  … {text}");
        }
    }
}

impl Drop for TerminalProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Asks on standard error and reads a line.
pub(super) fn ask(question: &str, answer: &mut String) -> std::io::Result<()> {
    let mut err = std::io::stderr().lock();
    write!(err, "{question}")?;
    err.flush()?;
    std::io::stdin().read_line(answer)?;
    Ok(())
}
