//! What is found on a bus: services, their objects, and what their interfaces are made of.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An argument of a method or a signal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Argument {
    /// Its name, where the service gives it one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its type, as D-Bus writes types: `a{sv}`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A method.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Method {
    /// What it takes.
    #[serde(rename = "in", default, skip_serializing_if = "Vec::is_empty")]
    pub takes: Vec<Argument>,
    /// What it answers.
    #[serde(rename = "out", default, skip_serializing_if = "Vec::is_empty")]
    pub gives: Vec<Argument>,
}

/// What can be done with a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// It is read.
    Read,
    /// It is written.
    Write,
    /// Both.
    ReadWrite,
}

/// A property.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Property {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What can be done with it.
    pub access: Access,
}

/// What an interface is made of. Annotations are not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Interface {
    /// Its methods by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub methods: BTreeMap<String, Method>,
    /// Its properties by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Property>,
    /// Its signals by name, each with its arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signals: BTreeMap<String, Vec<Argument>>,
}

/// The definitions of a service's interfaces, by name. Objects may differ in what they call by one name: the second
/// definition, in the order of the objects' paths, is at `NAME (2)`, and so on.
pub type Interfaces = BTreeMap<String, Interface>;

/// An object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Object {
    /// Its interfaces: keys of the service's definitions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// The values of its properties by interface, where they were asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Value>,
    /// Why it, or a part of it, could not be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The other names that the same connection has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Its objects by path. None where only the interfaces were asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub objects: BTreeMap<String, Object>,
    /// What their interfaces are made of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub interfaces: Interfaces,
    /// Whether the interfaces were remembered, those of all objects that this process of the service was ever seen with.
    #[serde(default)]
    pub cached: bool,
    /// Why not all of it is here: a limit that was reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub truncated: Vec<String>,
    /// Why nothing of it is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The process behind a name: what stays the same as long as the same code runs. Neither an interpreter's program nor
/// the libraries and settings that a service read when it started tell what it defines, but its start does; only a
/// process that executes itself anew (systemd does) changes its program without a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The boot: process ids and times of start count from it.
    pub boot: String,
    /// The process.
    pub pid: u32,
    /// When it started, in clock ticks since the boot.
    pub started: u64,
    /// Its program's device, inode, size in bytes, and time of change in nanoseconds.
    pub program: (u64, u64, u64, i128),
}

/// A name on the bus.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Name {
    /// The name.
    pub name: String,
    /// Whether somebody has it now.
    pub running: bool,
    /// Whether the bus starts a service when it is asked for.
    pub activatable: bool,
    /// The connection that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The user it runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// What the process is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// Its unit of systemd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}
