//! `plugin.call`, `plugin.destroy`: methods on the bus that a plugin's `semantic-mapping.toml` allows, and no others.

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::Call;
use super::given::Given;
use super::registry::{Effect, Op, Privilege};
use crate::engine::{Action, PlannedChange};
use crate::fault::{Kind, Report};
use crate::introspect::{self, Bus, Invocation};
use crate::name::PluginName;
use crate::paths::Tree;
use crate::plugins::{self, MAPPING, Manifest, SemanticMapping};
use crate::spec::Capability;

/// The daemon's own name on the bus.
const OURS: &str = "org.opdbus1";

/// A call of a plugin's method.
#[derive(Debug, Clone, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MethodArgs {
    /// The plugin's name.
    name: Given<PluginName>,
    /// The method, or the operation that it is offered as: `plugin show` lists those.
    method: String,
    /// Its arguments, in order; a number beyond 2^53 as a text, what is in a variant as {"type": "u", "value": 5}; on the
    /// command line each as JSON, or else as a text.
    #[arg(value_name = "ARGUMENT", value_parser = json_or_text, allow_negative_numbers = true)]
    #[serde(default)]
    #[schemars(extend("items" = json!({})))]
    arguments: Vec<Value>,
    /// The object [default: the service's name as a path].
    #[arg(long, value_name = "PATH")]
    #[serde(default)]
    path: Option<String>,
}

#[allow(clippy::unnecessary_wraps, reason = "what clap wants of it")]
fn json_or_text(word: &str) -> Result<Value, String> {
    Ok(serde_json::from_str(word).unwrap_or_else(|_| word.into()))
}

/// What a method answered.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Answered {
    /// The operation that it is offered as.
    operation: String,
    /// The values that it answered.
    answer: Vec<Value>,
}

impl MethodArgs {
    fn target(&self) -> String {
        let method: String = self.method.chars().take(80).collect();
        format!("{} {method}", self.name.raw())
    }

    /// The call, where the plugin allows it as what has this effect.
    fn allowed(&self, call: &Call<'_>, effect: plugins::Effect) -> Result<(String, Invocation), Report> {
        let name = self.name.check()?;
        let spec = call.spec()?;
        let tree = Tree::new(&spec.btrfs.base_path);
        // Whether it is there, and its files are in order, is told as everywhere.
        let found = plugins::one(&call.context(&spec), &name, &Ok(plugins::bus::Names::default()))?;
        if !found.offered {
            let why = found.reason.unwrap_or_else(|| "it is disabled".into());
            return Err(Report::new(Kind::Unavailable, format!("plugin {name} is not offered: {why}"))
                .with_next(format!("op-dbus plugin show {name}")));
        }
        let (manifest, mapping) = Manifest::check(&tree.plugin(&name), &name)
            .map_err(|error| Report::new(Kind::Invalid, error.to_string()))?;
        let (operation, invocation) = self.invocation(&name, &manifest, &mapping, effect)?;
        call.record("operation", operation.as_str());
        Ok((operation, invocation))
    }

    fn invocation(
        &self,
        name: &PluginName,
        manifest: &Manifest,
        mapping: &SemanticMapping,
        effect: plugins::Effect,
    ) -> Result<(String, Invocation), Report> {
        let shown: String = self.method.chars().take(80).flat_map(char::escape_default).collect();
        let denied = |why: &str| {
            Report::new(Kind::Denied, format!("plugin {name} does not offer {shown}: {why}"))
                .with_next(format!("{MAPPING} of the plugin says what it offers; root edits it"))
        };
        if !manifest.capabilities.contains(&Capability::Write) {
            return Err(denied("it may only be read"));
        }
        let method = mapping
            .methods
            .iter()
            .find(|method| method.allow && (method.name == self.method || method.operation == self.method))
            .ok_or_else(|| denied("it is not allowed there"))?;
        let service = &manifest.introspection_path;
        if service.starts_with("opdbus:") {
            return Err(Report::new(Kind::Invalid, format!("{shown} is no method on the bus"))
                .with_next(format!("it is the operation {}", method.operation)));
        }
        // The daemon would be asked by itself, and take it for root.
        if service == OURS {
            return Err(denied("the daemon is asked by its own operations"));
        }
        if method.effect != effect {
            let (is, by) = match method.effect {
                plugins::Effect::Change => ("changes", "call"),
                plugins::Effect::Destroy => ("destroys", "destroy"),
            };
            return Err(Report::new(Kind::Invalid, format!("{shown} {is} something"))
                .with_next(format!("op-dbus plugin {by} {name} {}", method.operation)));
        }
        let (interface, member) =
            method.name.rsplit_once('.').ok_or_else(|| denied("its name there has no interface"))?;
        let path = self.path.clone().unwrap_or_else(|| format!("/{}", service.replace('.', "/")));
        let invocation = Invocation {
            service: service.clone(),
            path,
            interface: interface.to_owned(),
            method: member.to_owned(),
            arguments: self.arguments.clone(),
        };
        Ok((method.operation.clone(), invocation))
    }

    fn run(self, call: &Call<'_>, effect: plugins::Effect) -> Result<Answered, Report> {
        let (operation, invocation) = self.allowed(call, effect)?;
        let answer = introspect::invoke(&Bus::System, &invocation, false)?;
        Ok(Answered { operation, answer })
    }

    fn rehearse(self, call: &Call<'_>, effect: plugins::Effect) -> Result<Vec<PlannedChange>, Report> {
        let (operation, invocation) = self.allowed(call, effect)?;
        introspect::invoke(&Bus::System, &invocation, true)?;
        let action = if effect == plugins::Effect::Destroy { Action::Remove } else { Action::Update };
        let Invocation { service, path, interface, method, arguments } = invocation;
        Ok(vec![PlannedChange {
            component: "plugins".into(),
            action,
            object: format!("{path} of {service}"),
            detail: format!("{operation}, by {interface}.{method}{}", json!(arguments)),
        }])
    }
}

const HELP: &str = "What is allowed is in the plugin's semantic-mapping.toml, which root edits: the method, what it is called, whether it\ndestroys. The types of the arguments are those that the object says its method takes: `op-dbus introspect`.";

/// `plugin.call`
pub(super) type CallMethod = ByMethod<false>;

/// `plugin.destroy`
pub(super) type DestroyByMethod = ByMethod<true>;

/// A call of a method that changes something, or destroys something.
pub(super) struct ByMethod<const DESTROYS: bool>;

impl<const DESTROYS: bool> ByMethod<DESTROYS> {
    /// What the plugin must allow the method as.
    const ALLOWED_AS: plugins::Effect =
        if DESTROYS { plugins::Effect::Destroy } else { plugins::Effect::Change };
}

impl<const DESTROYS: bool> Op for ByMethod<DESTROYS> {
    const NAME: &'static str = if DESTROYS { "plugin.destroy" } else { "plugin.call" };
    const SUMMARY: &'static str = if DESTROYS {
        "Call a method on the bus that a plugin offers, and that destroys something"
    } else {
        "Call a method on the bus that a plugin offers, and that changes something"
    };
    const HELP: &'static str = HELP;
    const EFFECT: Effect = if DESTROYS { Effect::Destroy } else { Effect::Change };
    // The daemon is root, and so does what is called.
    const PRIVILEGE: Privilege = Privilege::Admin;
    const REHEARSES: bool = true;
    const PHRASES: &'static [&'static str] = if DESTROYS {
        &["call [the] method {method} of [the] plugin {name} that destroys"]
    } else {
        &["call [the] method {method} of [the] plugin {name}"]
    };
    type Args = MethodArgs;
    type Answer = Answered;

    fn target(args: &MethodArgs) -> String {
        args.target()
    }
    fn run(call: &Call<'_>, args: MethodArgs) -> Result<Answered, Report> {
        args.run(call, Self::ALLOWED_AS)
    }
    fn rehearse(call: &Call<'_>, args: MethodArgs) -> Result<Vec<PlannedChange>, Report> {
        args.rehearse(call, Self::ALLOWED_AS)
    }
    fn text(answered: &Answered) -> String {
        let values: Vec<String> = answered.answer.iter().map(Value::to_string).collect();
        if values.is_empty() { format!("{}: done", answered.operation) } else { values.join("\n") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPED: &str = "version = 1\n\
        [[method]]\nname = \"org.example.Thing.Restart\"\noperation = \"thing.restart\"\neffect = \"change\"\nallow = true\n\
        [[method]]\nname = \"org.example.Thing.Erase\"\noperation = \"thing.erase\"\neffect = \"destroy\"\nallow = true\n\
        [[method]]\nname = \"org.example.Thing.Halt\"\noperation = \"thing.halt\"\neffect = \"change\"\n\
        [[method]]\nname = \"Bare\"\noperation = \"thing.bare\"\neffect = \"change\"\nallow = true\n";

    fn asked(
        service: &str,
        capabilities: &str,
        method: &str,
        effect: plugins::Effect,
    ) -> Result<(String, Invocation), Report> {
        let manifest = format!(
            "name = \"thing\"\nversion = \"1\"\nintrospection_path = \"{service}\"\ncapabilities = [{capabilities}]\n"
        );
        let manifest = Manifest::parse(&manifest, "plugin.toml").unwrap();
        let mapping = SemanticMapping::parse(MAPPED).unwrap();
        let args = json!({ "name": "thing", "method": method, "arguments": [1, "a"] });
        let args: MethodArgs = serde_json::from_value(args).unwrap();
        args.invocation(&"thing".parse().unwrap(), &manifest, &mapping, effect)
    }

    const BOTH: &str = "\"read\", \"write\"";

    #[test]
    fn what_the_mapping_allows_is_called_by_either_name_at_the_services_own_object() {
        for name in ["org.example.Thing.Restart", "thing.restart"] {
            let (operation, call) = asked("org.example.Thing1", BOTH, name, plugins::Effect::Change).unwrap();
            assert_eq!(operation, "thing.restart");
            assert_eq!(
                (call.service.as_str(), call.path.as_str()),
                ("org.example.Thing1", "/org/example/Thing1")
            );
            assert_eq!((call.interface.as_str(), call.method.as_str()), ("org.example.Thing", "Restart"));
            assert_eq!(call.arguments, [json!(1), json!("a")]);
        }
        assert!(asked("org.example.Thing1", BOTH, "thing.erase", plugins::Effect::Destroy).is_ok());
    }

    #[test]
    fn nothing_else_is_called() {
        use plugins::Effect::{Change, Destroy};
        for (service, capabilities, method, effect, kind) in [
            ("org.example.Thing1", BOTH, "thing.halt", Change, Kind::Denied),
            ("org.example.Thing1", BOTH, "org.example.Thing.Halt", Change, Kind::Denied),
            ("org.example.Thing1", BOTH, "org.example.Other.Restart", Change, Kind::Denied),
            ("org.example.Thing1", BOTH, "", Change, Kind::Denied),
            ("org.example.Thing1", BOTH, "thing.bare", Change, Kind::Denied),
            ("org.example.Thing1", "\"read\"", "thing.restart", Change, Kind::Denied),
            ("org.opdbus1", BOTH, "thing.restart", Change, Kind::Denied),
            ("opdbus:lxc", BOTH, "thing.restart", Change, Kind::Invalid),
            ("org.example.Thing1", BOTH, "thing.erase", Change, Kind::Invalid),
            ("org.example.Thing1", BOTH, "thing.restart", Destroy, Kind::Invalid),
        ] {
            let error = asked(service, capabilities, method, effect).unwrap_err();
            assert_eq!(error.kind, kind, "{service} {capabilities} {method}: {error}");
        }
    }

    #[test]
    fn arguments_on_the_command_line_are_json_or_texts() {
        let of = |word: &str| json_or_text(word).unwrap();
        assert_eq!((of("5"), of("true"), of("[1]")), (json!(5), json!(true), json!([1])));
        assert_eq!(
            (of("nginx.service"), of("\"5\""), of("")),
            (json!("nginx.service"), json!("5"), json!(""))
        );
    }
}
