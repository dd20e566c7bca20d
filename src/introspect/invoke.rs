//! Calling a method of an object, with arguments of the types that it says it takes.

use std::time::Duration;

use serde_json::Value;
use zbus::names::{BusName, InterfaceName, MemberName};
use zbus::wire::{Signature, Structure, StructureBuilder, Variant};
use zbus::{Connection, Message, ObjectPath};

use super::bus::{self, Bus};
use super::error::IntrospectError;
use super::{given, values, xml};

/// How long a service may take to say what its object is made of.
const DESCRIBES: Duration = Duration::from_secs(5);

/// How long it may take for what it is called for.
const DOES: Duration = Duration::from_secs(60);

/// The largest description that is read, in bytes.
const LARGEST: usize = 4 << 20;

/// A call of a method.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    /// The service, by its name on the bus.
    pub service: String,
    /// The object.
    pub path: String,
    /// The interface.
    pub interface: String,
    /// The method.
    pub method: String,
    /// Its arguments.
    pub arguments: Vec<Value>,
}

/// The values of what is called for, ready to be sent.
struct Ready {
    bus: Connection,
    body: Option<Structure<'static>>,
}

/// Calls a method: what it answers, a value for each. With `rehearse`, all is made ready, and it is not called.
pub fn invoke(bus: &Bus, call: &Invocation, rehearse: bool) -> Result<Vec<Value>, IntrospectError> {
    bus::block_on(async {
        let ready = ready(bus, call).await?;
        if rehearse {
            return Ok(Vec::new());
        }
        let answered = match &ready.body {
            Some(body) => send(&ready.bus, call, &call.interface, &call.method, body, DOES).await?,
            None => send(&ready.bus, call, &call.interface, &call.method, &(), DOES).await?,
        };
        let body = answered.body();
        if body.is_empty() {
            return Ok(Vec::new());
        }
        let fields = body.deserialize::<Structure<'_>>().map_err(|error| refused(call, &error))?;
        Ok(fields.fields().iter().map(values::json).collect())
    })
}

async fn ready(bus: &Bus, call: &Invocation) -> Result<Ready, IntrospectError> {
    if BusName::try_from(call.service.as_str()).is_err() {
        return Err(IntrospectError::BadName(call.service.clone()));
    }
    if ObjectPath::try_from(call.path.as_str()).is_err() {
        return Err(IntrospectError::BadPath(call.path.clone()));
    }
    let missing = || IntrospectError::NoMethod {
        object: call.path.clone(),
        service: call.service.clone(),
        method: format!("{}.{}", call.interface, call.method),
    };
    if InterfaceName::try_from(call.interface.as_str()).is_err()
        || MemberName::try_from(call.method.as_str()).is_err()
    {
        return Err(missing());
    }
    let bus = bus.connect().await?;
    let described =
        send(&bus, call, "org.freedesktop.DBus.Introspectable", "Introspect", &(), DESCRIBES).await?;
    let text: String = described.body().deserialize().map_err(|error| refused(call, &error))?;
    if text.len() > LARGEST {
        return Err(IntrospectError::Called {
            what: call.path.clone(),
            why: "its description is too large".into(),
        });
    }
    let described =
        xml::read(&text).map_err(|why| IntrospectError::Called { what: call.path.clone(), why })?;
    let interface = described.interfaces.get(&call.interface).ok_or_else(missing)?;
    let takes = &interface.methods.get(&call.method).ok_or_else(missing)?.takes;
    let wrong = |why: String| IntrospectError::Arguments { method: call.method.clone(), why };
    if takes.len() != call.arguments.len() {
        let types: Vec<String> =
            takes.iter().map(|one| format!("{} {}", one.kind, one.name).trim().to_owned()).collect();
        return Err(wrong(format!("it takes {}: {}", takes.len(), types.join(", "))));
    }
    let mut body = StructureBuilder::new();
    for (argument, takes) in call.arguments.iter().zip(takes) {
        let signature = Signature::try_from(takes.kind.as_str()).map_err(|error| wrong(error.to_string()))?;
        let value: Variant<'static> = given::variant(argument, &signature).map_err(&wrong)?;
        body.push_value(value);
    }
    let body =
        if takes.is_empty() { None } else { Some(body.build().map_err(|error| wrong(error.to_string()))?) };
    Ok(Ready { bus, body })
}

async fn send<B: serde::Serialize + zbus::DynamicType>(
    bus: &Connection,
    call: &Invocation,
    interface: &str,
    method: &str,
    body: &B,
    limit: Duration,
) -> Result<Message, IntrospectError> {
    let sent =
        bus.call_method(Some(call.service.as_str()), call.path.as_str(), Some(interface), method, body);
    match tokio::time::timeout(limit, sent).await {
        Ok(answer) => answer.map_err(|error| refused(call, &error)),
        Err(_) => Err(IntrospectError::Called {
            what: format!("{} of {}", call.method, call.service),
            why: format!("it did not answer within {} s; it may still do it", limit.as_secs()),
        }),
    }
}

fn refused(call: &Invocation, error: &zbus::Error) -> IntrospectError {
    IntrospectError::Called { what: format!("{} of {}", call.method, call.service), why: bus::why(error) }
}
