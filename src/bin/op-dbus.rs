//! The administrator's program: a thin client of the daemon.
fn main() {}
