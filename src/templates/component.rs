//! Templates as a component of the engine: those declared exist, and nothing is left half made.

use std::collections::BTreeMap;

use serde::Serialize;

use super::error::TemplateError;
use super::record::{Origin, Source, TemplateRecord, declaration_digest};
use super::store::{Entry, discard_leftover, entries};
use super::{build, generations, populate, refresh};
use crate::engine::{Action, Change, Component, Context};
use crate::name::TemplateName;
use crate::spec::{HostSpec, Template};

/// The templates of the host spec.
#[derive(Debug, Clone, Copy, Default)]
pub struct TemplatesComponent;

/// The templates of a host. What differs between two builds of the same declaration is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TemplatesSeen {
    /// Those that are ours.
    pub templates: BTreeMap<TemplateName, SeenTemplate>,
    /// What was left half made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<String>,
    /// Those with generations that a stopped run left to be settled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unsettled: Vec<TemplateName>,
    /// How many generations are beyond those that are to be kept, and not in use.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub surplus: BTreeMap<TemplateName, usize>,
    /// What is there and not ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub foreign: Vec<String>,
}

/// A template as it is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum SeenTemplate {
    /// It can be cloned.
    #[serde(rename_all = "camelCase")]
    Whole {
        /// Whether it is the host spec's or a user's.
        origin: Origin,
        /// What it is made of.
        distribution: String,
        /// The release found inside.
        release: String,
        /// Its architecture.
        architecture: String,
        /// What filled it.
        source: Source,
        /// The digest of the declaration it was built from.
        declaration_digest: String,
        /// The digest of the declaration under which somebody went back to it.
        #[serde(skip_serializing_if = "Option::is_none")]
        held_against: Option<String>,
    },
    /// It cannot be cloned.
    Damaged {
        /// Why.
        damage: String,
    },
}

impl From<TemplateRecord> for SeenTemplate {
    fn from(record: TemplateRecord) -> Self {
        Self::Whole {
            origin: record.origin,
            distribution: record.distribution,
            release: record.release,
            architecture: record.architecture,
            source: record.source,
            declaration_digest: record.declaration_digest,
            held_against: record.held_against,
        }
    }
}

/// A change to the templates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "change")]
pub enum TemplateChange {
    /// Something half made goes.
    Discard {
        /// Its name in the directory of templates.
        name: String,
    },
    /// What a stopped run had begun with generations that are not in use is ended.
    Settle {
        /// The template.
        name: TemplateName,
    },
    /// Generations go that are beyond those to be kept.
    Prune {
        /// The template.
        name: TemplateName,
        /// How many.
        count: usize,
    },
    /// A declared template is built.
    Build {
        /// Its name.
        name: TemplateName,
        /// From what.
        from: String,
    },
    /// A declared template is built anew and exchanged.
    Refresh {
        /// Its name.
        name: TemplateName,
        /// Why.
        why: &'static str,
    },
}

impl Change for TemplateChange {
    fn action(&self) -> Action {
        match self {
            Self::Discard { .. } | Self::Prune { .. } => Action::Remove,
            Self::Build { .. } => Action::Create,
            Self::Refresh { .. } | Self::Settle { .. } => Action::Update,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::Discard { name } => format!("half-made template @templates/{name}"),
            Self::Settle { name } | Self::Prune { name, .. } => {
                format!("earlier generations of template {name}")
            }
            Self::Build { name, .. } | Self::Refresh { name, .. } => format!("template {name}"),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::Discard { .. } => String::new(),
            Self::Settle { .. } => "what a stopped run left".into(),
            Self::Prune { count, .. } => format!("{count} more than are kept"),
            Self::Build { from, .. } => from.clone(),
            Self::Refresh { why, .. } => format!("refresh: {why}; its clones stay as they are"),
        }
    }
}

/// How many generations of a template stay beside the one in use; the usual number where it is no longer declared.
fn kept(spec: &HostSpec, name: &TemplateName) -> u32 {
    spec.templates.get(name).map_or_else(|| Template::default().keep, |declaration| declaration.keep)
}

impl Component for TemplatesComponent {
    const NAME: &'static str = "templates";
    type Seen = TemplatesSeen;
    type Change = TemplateChange;
    type Error = TemplateError;

    fn validate(&self, cx: &Context<'_>) -> Result<(), TemplateError> {
        let seen = self.observe(cx)?;
        for name in cx.spec.templates.keys() {
            if seen.foreign.iter().any(|foreign| foreign == name.as_str()) {
                return Err(TemplateError::Foreign { path: cx.tree().template(name) });
            }
            if let Some(SeenTemplate::Damaged { damage }) = seen.templates.get(name) {
                let (path, why) = (cx.tree().template(name), damage.clone());
                return Err(TemplateError::Damaged { path, why });
            }
        }
        // The tools are asked for only where something is to be built with them.
        for change in self.plan(cx.spec, &seen)? {
            if let TemplateChange::Build { name, .. } | TemplateChange::Refresh { name, .. } = change
                && let Some(declaration) = cx.spec.templates.get(&name)
            {
                populate::check(cx.host, &name, declaration)?;
            }
        }
        Ok(())
    }

    fn observe(&self, cx: &Context<'_>) -> Result<TemplatesSeen, TemplateError> {
        let mut seen = TemplatesSeen::default();
        for entry in entries(&cx.tree())? {
            match entry {
                Entry::Leftover(name) => seen.leftovers.push(name),
                Entry::Foreign(name) => seen.foreign.push(name),
                Entry::Template(name, Ok(record)) => {
                    seen.templates.insert(name, (*record).into());
                }
                Entry::Template(name, Err(TemplateError::Damaged { why, .. })) => {
                    seen.templates.insert(name, SeenTemplate::Damaged { damage: why });
                }
                Entry::Template(_, Err(error)) => return Err(error),
            }
        }
        for name in generations::names(&cx.tree())? {
            if generations::unsettled(&cx.tree(), &name)? {
                seen.unsettled.push(name.clone());
            }
            let count = generations::beyond(&cx.tree(), &name, kept(cx.spec, &name))?;
            if count > 0 {
                seen.surplus.insert(name, count);
            }
        }
        Ok(seen)
    }

    /// The declared templates. One that a user made is that user's affair.
    fn lasting(&self, seen: &TemplatesSeen) -> serde_json::Result<serde_json::Value> {
        let users =
            |template: &SeenTemplate| matches!(template, SeenTemplate::Whole { origin: Origin::User, .. });
        let templates = seen.templates.iter().filter(|(_, template)| !users(template));
        let templates = templates.map(|(name, template)| (name.clone(), template.clone())).collect();
        serde_json::to_value(TemplatesSeen { templates, ..seen.clone() })
    }

    fn plan(&self, spec: &HostSpec, seen: &TemplatesSeen) -> Result<Vec<TemplateChange>, TemplateError> {
        let mut changes: Vec<TemplateChange> =
            seen.leftovers.iter().map(|name| TemplateChange::Discard { name: name.clone() }).collect();
        changes.extend(seen.unsettled.iter().map(|name| TemplateChange::Settle { name: name.clone() }));
        let surplus = seen.surplus.iter();
        changes
            .extend(surplus.map(|(name, count)| TemplateChange::Prune { name: name.clone(), count: *count }));
        for (name, declaration) in &spec.templates {
            let name = name.clone();
            match seen.templates.get(&name) {
                None => {
                    let from = match &declaration.rootfs {
                        Some(tarball) => format!("from {}", tarball.display()),
                        None => format!("{} {}", declaration.distribution, declaration.suite),
                    };
                    changes.push(TemplateChange::Build { name, from });
                }
                // What a user made stays what the user made, also where the host spec has come to
                // declare its name. Who made a damaged one can no longer be told: `validate` names it,
                // and nothing is done unasked.
                Some(SeenTemplate::Whole { origin: Origin::User, .. } | SeenTemplate::Damaged { .. }) => {}
                Some(SeenTemplate::Whole { declaration_digest: digest, held_against, .. }) => {
                    let declared = declaration_digest(declaration);
                    // Somebody went back from what is declared: nothing undoes that but a new declaration.
                    if *digest != declared && *held_against != Some(declared) {
                        changes.push(TemplateChange::Refresh { name, why: "its declaration changed" });
                    }
                }
            }
        }
        Ok(changes)
    }

    fn apply(&self, cx: &Context<'_>, change: &TemplateChange) -> Result<(), TemplateError> {
        match change {
            TemplateChange::Discard { name } => discard_leftover(&cx.tree(), name),
            TemplateChange::Settle { name } => generations::settle(&cx.tree(), name),
            TemplateChange::Prune { name, .. } => generations::prune(&cx.tree(), name, kept(cx.spec, name)),
            TemplateChange::Build { name, .. } => {
                let declaration = cx
                    .spec
                    .templates
                    .get(name)
                    .ok_or_else(|| TemplateError::NotFound { name: name.clone() })?;
                build(cx, name, declaration, Origin::System).map(drop)
            }
            TemplateChange::Refresh { name, .. } => refresh(cx, name).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::record::example;

    fn seen(name: &str, origin: Origin, built_from: &Template) -> TemplatesSeen {
        let record = example(name, origin, built_from);
        TemplatesSeen { templates: [(record.name.clone(), record.into())].into(), ..TemplatesSeen::default() }
    }

    fn actions(spec: &HostSpec, seen: &TemplatesSeen) -> Vec<(Action, String)> {
        let changes = TemplatesComponent.plan(spec, seen).unwrap();
        changes.iter().map(|c| (c.action(), c.object())).collect()
    }

    #[test]
    fn a_missing_template_is_built_and_one_that_is_there_is_left() {
        let spec = HostSpec::default();
        assert_eq!(
            actions(&spec, &TemplatesSeen::default()),
            [(Action::Create, "template debian-base".to_owned())]
        );
        assert!(actions(&spec, &seen("debian-base", Origin::System, &Template::default())).is_empty());
    }

    #[test]
    fn a_changed_declaration_refreshes_a_system_template_and_never_a_users() {
        let spec = HostSpec::default();
        let before = Template { packages: vec!["curl".into()], ..Template::default() };
        assert_eq!(
            actions(&spec, &seen("debian-base", Origin::System, &before)),
            [(Action::Update, "template debian-base".to_owned())]
        );
        assert!(actions(&spec, &seen("debian-base", Origin::User, &before)).is_empty());
    }

    #[test]
    fn one_that_somebody_went_back_to_stays_until_the_declaration_changes() {
        let mut spec = HostSpec::default();
        let before = Template { packages: vec!["curl".into()], ..Template::default() };
        let mut record = example("debian-base", Origin::System, &before);
        record.held_against = Some(declaration_digest(&Template::default()));
        let seen = TemplatesSeen {
            templates: [(record.name.clone(), record.into())].into(),
            ..TemplatesSeen::default()
        };
        assert!(actions(&spec, &seen).is_empty());
        spec.templates.values_mut().for_each(|t| t.keep = 9);
        assert!(actions(&spec, &seen).is_empty(), "how many are kept is no reason to build");
        spec.templates.values_mut().for_each(|t| t.suite = "trixie".into());
        assert_eq!(actions(&spec, &seen), [(Action::Update, "template debian-base".to_owned())]);
    }

    #[test]
    fn what_lasts_are_the_declared_templates() {
        let system = seen("debian-base", Origin::System, &Template::default());
        let mut both = system.clone();
        both.templates.append(&mut seen("mine", Origin::User, &Template::default()).templates);
        assert_eq!(TemplatesComponent.lasting(&both).unwrap(), TemplatesComponent.lasting(&system).unwrap());
        assert!(TemplatesComponent.lasting(&both).unwrap()["templates"]["debian-base"].is_object());
    }

    #[test]
    fn what_is_not_declared_stays_and_what_is_half_made_goes() {
        let spec = HostSpec { templates: BTreeMap::new(), ..HostSpec::default() };
        let mut seen = seen("mine", Origin::System, &Template::default());
        seen.leftovers = vec![".opdbus-build-mine".into()];
        seen.foreign = vec!["notes".into()];
        assert_eq!(
            actions(&spec, &seen),
            [(Action::Remove, "half-made template @templates/.opdbus-build-mine".to_owned())]
        );
    }
}
