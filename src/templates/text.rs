//! Templates for a person.

use jiff::tz::TimeZone;

use super::{Listed, TemplateRecord};

/// What was done to a template.
#[must_use]
pub fn sentence(verb: &str, r: &TemplateRecord) -> String {
    format!(
        "{verb} template {}: {} {} {}, generation {}",
        r.name, r.distribution, r.release, r.architecture, r.generation
    )
}

/// The templates there are.
#[must_use]
pub fn table(all: &[Listed]) -> String {
    if all.is_empty() {
        return "no templates".into();
    }
    crate::table::render(["NAME", "SYSTEM", "ARCH", "ORIGIN", "BUILT", "GENERATION"], all.iter().map(row))
}

fn row(listed: &Listed) -> [String; 6] {
    let name = listed.name.to_string();
    let Some(r) = &listed.record else {
        let dash = || "-".to_owned();
        return [name, "damaged".into(), dash(), dash(), dash(), listed.damage.clone().unwrap_or_default()];
    };
    [
        name,
        format!("{} {}", r.distribution, r.release),
        r.architecture.clone(),
        r.origin.to_string(),
        r.built.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M %Z").to_string(),
        r.generation.clone(),
    ]
}
