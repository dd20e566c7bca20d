//! Templates for a person.

use jiff::tz::TimeZone;

use super::{Generation, Listed, TemplateRecord};

/// What was done to a template.
#[must_use]
pub fn sentence(verb: &str, r: &TemplateRecord) -> String {
    format!(
        "{verb} template {}: {} {} {}, generation {}",
        r.name, r.distribution, r.release, r.architecture, r.generation
    )
}

/// What was imported.
#[must_use]
pub fn imported(r: &TemplateRecord) -> String {
    let mut text = sentence("imported", r);
    if let Some(imported) = &r.imported {
        text.push_str(&format!("\nsha256 {}", imported.sha256));
        if let Some(manifest) = &imported.manifest {
            text.push_str(&format!(", image sha256:{manifest}"));
        }
        if !imported.left_out.is_empty() {
            text.push_str(&format!("\nleft out, for they are no files: {}", imported.left_out.join(", ")));
        }
    }
    text
}

/// The templates there are.
#[must_use]
pub fn table(all: &[Listed]) -> String {
    if all.is_empty() {
        return "no templates".into();
    }
    crate::table::render(
        ["NAME", "SYSTEM", "ARCH", "ORIGIN", "BUILT", "GENERATION", "EARLIER"],
        all.iter().map(row),
    )
}

/// The generations of a template.
#[must_use]
pub fn generations(all: &[Generation]) -> String {
    if all.is_empty() {
        return "no generations".into();
    }
    let rows = all.iter().map(|one| {
        let dash = || "-".to_owned();
        let record = one.record.as_ref();
        [
            one.generation.clone(),
            if one.in_use { "yes".into() } else { dash() },
            record.map_or_else(|| "damaged".into(), |r| format!("{} {}", r.distribution, r.release)),
            record.map_or_else(dash, |r| local(r.built)),
            record.and_then(|r| r.replaced).map_or_else(dash, local),
        ]
    });
    crate::table::render(["GENERATION", "IN USE", "SYSTEM", "BUILT", "REPLACED"], rows)
}

fn local(at: jiff::Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M %Z").to_string()
}

fn row(listed: &Listed) -> [String; 7] {
    let name = listed.name.to_string();
    let Some(r) = &listed.record else {
        let dash = || "-".to_owned();
        let why = listed.damage.clone().unwrap_or_default();
        return [name, "damaged".into(), dash(), dash(), dash(), why, listed.kept.to_string()];
    };
    [
        name,
        format!("{} {}", r.distribution, r.release),
        r.architecture.clone(),
        r.origin.to_string(),
        local(r.built),
        r.generation.clone(),
        listed.kept.to_string(),
    ]
}
