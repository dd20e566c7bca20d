//! The declared templates as a component.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::error::TemplateError;
use super::manage::{self, STAGING};
use super::record::{self, Origin, Record};
use crate::engine::{self, Action, Context};
use crate::name::TemplateName;
use crate::spec::HostSpec;

/// The declared templates. One that is not declared is never touched.
#[derive(Debug, Clone, Copy, Default)]
pub struct TemplatesComponent;

/// What there is of templates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The declared ones that are there.
    pub declared: BTreeMap<TemplateName, SeenTemplate>,
    /// What a killed run left half made.
    pub half_made: Vec<PathBuf>,
}

/// What there is of one template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenTemplate {
    /// Who made it.
    pub origin: Origin,
    /// The release it has.
    pub release: String,
    /// A digest of what it was built from.
    pub digest: String,
}

/// A change to templates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Change {
    /// Remove what a killed run left.
    Clean {
        /// The directory.
        path: PathBuf,
    },
    /// Build one.
    Build {
        /// The template.
        name: TemplateName,
        /// From what, in words.
        from: String,
    },
    /// Build one anew, as its declaration has changed.
    Rebuild {
        /// The template.
        name: TemplateName,
    },
}

impl engine::Change for Change {
    fn action(&self) -> Action {
        match self {
            Self::Clean { .. } => Action::Remove,
            Self::Build { .. } => Action::Create,
            Self::Rebuild { .. } => Action::Update,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::Clean { path } => format!("half-made template {}", path.display()),
            Self::Build { name, .. } | Self::Rebuild { name } => format!("template {name}"),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::Clean { .. } => String::new(),
            Self::Build { from, .. } => from.clone(),
            Self::Rebuild { .. } => "its declaration has changed; its clones are not touched".into(),
        }
    }
}

impl engine::Component for TemplatesComponent {
    const NAME: &'static str = "templates";
    type Seen = Seen;
    type Change = Change;
    type Error = TemplateError;

    fn validate(&self, cx: &Context<'_>) -> Result<(), TemplateError> {
        let tree = cx.tree();
        for (name, template) in &cx.spec.templates {
            let there = record::look(&tree, name)?;
            // A tarball is needed only to build with.
            if let (None, Some(tarball)) = (&there, &template.rootfs)
                && !tarball.is_file()
            {
                return Err(TemplateError::NoTarball(tarball.clone()));
            }
        }
        Ok(())
    }

    fn observe(&self, cx: &Context<'_>) -> Result<Seen, TemplateError> {
        let tree = cx.tree();
        let mut declared = BTreeMap::new();
        for name in cx.spec.templates.keys() {
            if let Some(found) = record::look(&tree, name)? {
                let Record { origin, release, spec, .. } = found.record;
                declared
                    .insert(name.clone(), SeenTemplate { origin, release, digest: Record::digest(&spec) });
            }
        }
        let names = manage::names(&tree.templates())?;
        let half_made =
            names.iter().filter(|n| n.starts_with(STAGING)).map(|n| tree.templates().join(n)).collect();
        Ok(Seen { declared, half_made })
    }

    fn plan(&self, spec: &HostSpec, seen: &Seen) -> Result<Vec<Change>, TemplateError> {
        let mut changes: Vec<Change> =
            seen.half_made.iter().map(|path| Change::Clean { path: path.clone() }).collect();
        for (name, template) in &spec.templates {
            match seen.declared.get(name) {
                None => {
                    let from = match &template.rootfs {
                        Some(tarball) => format!("from {}", tarball.display()),
                        None => format!("Debian {} from a mirror", template.suite),
                    };
                    changes.push(Change::Build { name: name.clone(), from });
                }
                // One that somebody made is theirs, whatever is declared under its name later.
                Some(there) if there.origin == Origin::System && there.digest != Record::digest(template) => {
                    changes.push(Change::Rebuild { name: name.clone() });
                }
                Some(_) => {}
            }
        }
        Ok(changes)
    }

    fn apply(&self, cx: &Context<'_>, change: &Change) -> Result<(), TemplateError> {
        match change {
            Change::Clean { path } => manage::remove_directory(path),
            Change::Build { name, .. } | Change::Rebuild { name } => match cx.spec.templates.get(name) {
                Some(template) => manage::build_and_swap(cx, name, template, Origin::System),
                None => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Component;
    use crate::spec::Template;

    fn seen(origin: Origin, spec: &Template) -> Seen {
        let template = SeenTemplate { origin, release: "x".into(), digest: Record::digest(spec) };
        Seen { declared: [("debian-base".parse().unwrap(), template)].into(), half_made: Vec::new() }
    }

    #[test]
    fn a_template_is_built_once_and_again_only_when_its_declaration_changes() {
        let spec = HostSpec::default();
        let built = TemplatesComponent.plan(&spec, &Seen::default()).unwrap();
        assert!(matches!(&built[..], [Change::Build { .. }]));
        assert_eq!(TemplatesComponent.plan(&spec, &seen(Origin::System, &Template::default())).unwrap(), []);
        let other = Template { suite: "trixie".into(), ..Template::default() };
        let again = TemplatesComponent.plan(&spec, &seen(Origin::System, &other)).unwrap();
        assert!(matches!(&again[..], [Change::Rebuild { .. }]));
    }

    #[test]
    fn a_template_of_the_users_is_never_rebuilt() {
        let other = Template { suite: "trixie".into(), ..Template::default() };
        assert_eq!(TemplatesComponent.plan(&HostSpec::default(), &seen(Origin::User, &other)).unwrap(), []);
    }
}
