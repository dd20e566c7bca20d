//! A template asked for by hand: the host spec's where it is declared there, else a user's own.

use std::path::PathBuf;

use super::error::TemplateError;
use super::record::Origin;
use crate::deployment::Deployment;
use crate::name::TemplateName;
use crate::spec::{self, Distribution, HostSpec, Template};

/// What somebody wants of a template of their own. What is not given is as in the host spec's defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// A tarball of a root file system instead of a mirror.
    pub rootfs: Option<PathBuf>,
    /// What it is made of.
    pub distribution: Option<Distribution>,
    /// The release.
    pub suite: Option<String>,
    /// Where packages come from.
    pub mirror: Option<String>,
    /// Packages beside the base system.
    pub packages: Vec<String>,
    /// The time zone.
    pub time_zone: Option<String>,
    /// The locale.
    pub locale: Option<String>,
}

/// What to build for a name: the declaration, and whose template it will be. A name that the host spec
/// declares is built as declared; wishes beside that are refused, for the next `apply` would undo them.
pub fn requested(
    spec: &HostSpec,
    name: &TemplateName,
    wish: &Wish,
) -> Result<(Template, Origin), TemplateError> {
    if let Some(declared) = spec.templates.get(name) {
        return if *wish == Wish::default() {
            Ok((declared.clone(), Origin::System))
        } else {
            Err(TemplateError::Declared {
                name: name.clone(),
                why: "it is built as declared there, and options have no place",
                next: format!(
                    "change {} and `{}`, or choose another name",
                    Deployment::here().field(&format!("templates.{name}")),
                    Deployment::here().apply(),
                ),
            })
        };
    }
    let Wish { rootfs, distribution, suite, mirror, packages, time_zone, locale } = wish.clone();
    let default = Template::default();
    if rootfs.is_some() && mirror.is_some() && distribution != Some(Distribution::Alpine) {
        return Err(TemplateError::Declaration {
            name: name.clone(),
            why: "a tarball is taken as it is, and a mirror has no place beside it".into(),
            next: "leave one of them out; of Alpine both are taken (--distribution alpine)".into(),
        });
    }
    let declaration = Template {
        distribution: distribution.unwrap_or(default.distribution),
        rootfs,
        mirror,
        packages,
        suite: suite.unwrap_or(default.suite),
        time_zone: time_zone.unwrap_or(default.time_zone),
        locale: locale.unwrap_or(default.locale),
        ..default
    };
    // The same rules as for one that is declared.
    let mut with_it = spec.clone();
    with_it.templates.insert(name.clone(), declaration.clone());
    spec::check(&with_it)?;
    Ok((declaration, Origin::User))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> TemplateName {
        name.parse().unwrap()
    }

    #[test]
    fn a_declared_name_is_built_as_declared_and_another_is_the_users() {
        let spec = HostSpec::default();
        let (_, origin) = requested(&spec, &name("debian-base"), &Wish::default()).unwrap();
        assert_eq!(origin, Origin::System);
        let wish = Wish { suite: Some("trixie".into()), ..Wish::default() };
        let error = requested(&spec, &name("debian-base"), &wish).unwrap_err();
        assert!(matches!(error, TemplateError::Declared { .. }), "{error}");
        let (declaration, origin) = requested(&spec, &name("mine"), &wish).unwrap();
        assert_eq!((declaration.suite.as_str(), origin), ("trixie", Origin::User));
    }

    #[test]
    fn a_wish_is_held_to_the_rules_of_the_host_spec() {
        let spec = HostSpec::default();
        for wish in [
            Wish { suite: Some("--help".into()), ..Wish::default() },
            Wish { packages: vec!["a b".into()], ..Wish::default() },
            Wish { mirror: Some("ftp://x".into()), ..Wish::default() },
            Wish { rootfs: Some("x.tar".into()), ..Wish::default() },
            Wish { locale: Some("x;y".into()), ..Wish::default() },
        ] {
            assert!(requested(&spec, &name("mine"), &wish).is_err(), "{wish:?}");
        }
    }
}
