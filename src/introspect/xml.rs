//! The XML of `org.freedesktop.DBus.Introspectable` (D-Bus specification, "Introspection Data Format"). It comes from
//! strangers: it is read event by event, without recursion, entities of its own are not resolved, and names and types
//! that D-Bus would not have are left out and reported.

use std::collections::BTreeMap;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use zbus::Signature;
use zbus::names::{InterfaceName, MemberName};

use super::model::{Access, Argument, Interface, Method, Property};

/// How deep elements may lie in one another. The format needs four; services that describe their children's children
/// need a few more.
const NESTING: usize = 64;

/// How many members one object's interfaces may have: systemd's units have some 600.
const MEMBERS: usize = 20_000;

/// What an object says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Described {
    /// Its interfaces.
    pub interfaces: BTreeMap<String, Interface>,
    /// The names of the objects right below it: one or more elements of a path, without a slash at either end.
    pub children: Vec<String>,
    /// What was left out, the first of it.
    pub flaw: Option<String>,
}

/// Where in the document the reader is.
enum Place {
    Object,
    Interface(String),
    Method { interface: String, name: String },
    Signal { interface: String, name: String },
}

/// Reads a description. The error says in which way it is none.
pub fn read(text: &str) -> Result<Described, String> {
    let mut reader = Reader::from_str(text);
    let mut described = Described::default();
    // The places that are open, and how many elements that are none of the format's are open inside of the last.
    let mut places: Vec<Place> = Vec::new();
    let (mut ignored, mut depth, mut members, mut roots) = (0_usize, 0_usize, 0_usize, 0_usize);
    loop {
        let (element, empty) = match reader.read_event() {
            Err(error) => return Err(format!("its XML is malformed: {error}")),
            Ok(Event::Start(element)) => (element, false),
            Ok(Event::Empty(element)) => (element, true),
            Ok(Event::End(_)) => {
                depth = depth.saturating_sub(1);
                if ignored > 0 {
                    ignored -= 1;
                } else {
                    places.pop();
                }
                continue;
            }
            Ok(Event::Eof) if depth > 0 => return Err("its XML ends in the middle".into()),
            Ok(Event::Eof) if roots == 0 => return Err("it has no description of a node".into()),
            Ok(Event::Eof) => return Ok(described),
            Ok(_) => continue,
        };
        if !empty {
            depth += 1;
            if depth > NESTING {
                return Err(format!("its XML nests more than {NESTING} elements"));
            }
        }
        let place = if ignored > 0 {
            None
        } else {
            members += 1;
            if members > MEMBERS {
                return Err(format!("it has more than {MEMBERS} members"));
            }
            if places.is_empty() {
                if element.name().as_ref() != "node" || roots > 0 {
                    return Err("it is not the description of one node".into());
                }
                roots += 1;
                Some(Place::Object)
            } else {
                let place = opened(&mut described, places.last(), &element)?;
                if let Some(flaw) = place.1 {
                    described.flaw.get_or_insert(flaw);
                }
                place.0
            }
        };
        match place {
            _ if empty => {}
            Some(place) => places.push(place),
            None => ignored += 1,
        }
    }
}

/// Takes an element in. Gives the place that it opens, if it opens one whose content counts, and what is wrong with it.
fn opened(
    described: &mut Described,
    place: Option<&Place>,
    element: &BytesStart<'_>,
) -> Result<(Option<Place>, Option<String>), String> {
    let name = attribute(element, "name")?;
    let name = name.as_deref().unwrap_or_default();
    let bad = |what: &str| Ok((None, Some(format!("left out: {what} \"{}\"", shown(name)))));
    let good = |place| Ok((place, None));
    match (place, element.name().as_ref()) {
        (Some(Place::Object), "node") => {
            if !is_child(name) {
                return bad("a child with the name");
            }
            // What a parent says of its child's interfaces is not taken: the child is asked itself.
            described.children.push(name.to_owned());
            good(None)
        }
        (Some(Place::Object), "interface") => {
            if InterfaceName::try_from(name).is_err() {
                return bad("an interface with the name");
            }
            described.interfaces.entry(name.to_owned()).or_default();
            good(Some(Place::Interface(name.to_owned())))
        }
        (Some(Place::Interface(of)), kind @ ("method" | "signal" | "property")) => {
            if MemberName::try_from(name).is_err() {
                return bad(&format!("a {kind} with the name"));
            }
            let interface = described.interfaces.entry(of.clone()).or_default();
            let (of, member) = (of.clone(), name.to_owned());
            match kind {
                "method" => {
                    interface.methods.insert(member.clone(), Method::default());
                    good(Some(Place::Method { interface: of, name: member }))
                }
                "signal" => {
                    interface.signals.insert(member.clone(), Vec::new());
                    good(Some(Place::Signal { interface: of, name: member }))
                }
                _ => {
                    let Some(kind) = kind_of(element)? else { return bad("for its type, the property") };
                    let access = match attribute(element, "access")?.as_deref() {
                        Some("write") => Access::Write,
                        Some("readwrite") => Access::ReadWrite,
                        _ => Access::Read,
                    };
                    interface.properties.insert(member, Property { kind, access });
                    good(None)
                }
            }
        }
        (Some(Place::Method { interface, name: method }), "arg") => {
            let Some(kind) = kind_of(element)? else { return bad("for its type, the argument") };
            let argument = Argument { name: shown(name), kind };
            let of = described.interfaces.get_mut(interface).and_then(|i| i.methods.get_mut(method));
            if let Some(of) = of {
                let out = attribute(element, "direction")?.as_deref() == Some("out");
                if out { of.gives.push(argument) } else { of.takes.push(argument) }
            }
            good(None)
        }
        (Some(Place::Signal { interface, name: signal }), "arg") => {
            let Some(kind) = kind_of(element)? else { return bad("for its type, the argument") };
            let of = described.interfaces.get_mut(interface).and_then(|i| i.signals.get_mut(signal));
            if let Some(of) = of {
                of.push(Argument { name: shown(name), kind });
            }
            good(None)
        }
        // Annotations, documentation, elements of other namespaces.
        _ => good(None),
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, String> {
    let malformed = |error: &dyn std::fmt::Display| format!("its XML is malformed: {error}");
    let Some(found) = element.try_get_attribute(name).map_err(|e| malformed(&e))? else { return Ok(None) };
    let value = found.normalized_value(XmlVersion::Implicit1_0).map_err(|e| malformed(&e))?;
    Ok(Some(value.into_owned()))
}

/// The attribute `type`, where it is one complete type.
fn kind_of(element: &BytesStart<'_>) -> Result<Option<String>, String> {
    let kind = attribute(element, "type")?.unwrap_or_default();
    // The specification's limit; the parser is not shown more.
    let fits = !kind.is_empty() && kind.len() <= 255;
    Ok((fits && Signature::try_from(kind.as_str()).is_ok()).then_some(kind))
}

/// Whether something can be a child: elements of an object path, one at least. A child always has a longer path than its
/// parent, so that objects cannot go round in circles.
fn is_child(name: &str) -> bool {
    let element = |e: &str| !e.is_empty() && e.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    name.split('/').all(element)
}

/// A stranger's text, fit to be shown: without control characters, and no longer than a line.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DOCUMENT: &str = r#"<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
        "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
        <node name="/org/example" xmlns:doc="http://www.freedesktop.org/dbus/1.0/doc.dtd">
         <!-- a comment -->
         <interface name="org.example.Frob">
          <doc:doc><doc:para>A &amp; B</doc:para></doc:doc>
          <method name="Frobnicate">
           <arg name="what" type="a{sv}" direction="in"><annotation name="x" value="y"/></arg>
           <arg type="s"/>
           <arg name="result" type="(ii)" direction="out"/>
           <annotation name="org.freedesktop.DBus.Deprecated" value="true"/>
          </method>
          <signal name="Changed"><arg name="n" type="u"/></signal>
          <property name="Bar" type="y" access="readwrite"/>
          <property name="Secret" type="s" access="write"/>
         </interface>
         <node name="child"><interface name="org.example.Told"/></node>
         <node name="deep/er"/>
        </node>"#;

    #[test]
    fn a_description_is_read_as_the_specification_writes_it() {
        let described = read(DOCUMENT).unwrap();
        assert_eq!(described.children, ["child", "deep/er"]);
        assert_eq!(described.flaw, None);
        assert_eq!(described.interfaces.keys().collect::<Vec<_>>(), ["org.example.Frob"]);
        let frob = &described.interfaces["org.example.Frob"];
        let method = &frob.methods["Frobnicate"];
        let kinds = |arguments: &[Argument]| arguments.iter().map(|a| a.kind.clone()).collect::<Vec<_>>();
        assert_eq!(
            (kinds(&method.takes), kinds(&method.gives)),
            (vec!["a{sv}".into(), "s".into()], vec!["(ii)".into()])
        );
        assert_eq!(frob.signals["Changed"], [Argument { name: "n".into(), kind: "u".into() }]);
        assert_eq!(frob.properties["Bar"], Property { kind: "y".into(), access: Access::ReadWrite });
        assert_eq!(frob.properties["Secret"].access, Access::Write);
    }

    #[test]
    fn what_is_no_description_is_said_to_be_none() {
        for (text, why) in [
            ("", "no description"),
            ("plain words", "no description"),
            ("<node>", "ends in the middle"),
            ("<node><interface name='a.b'></node>", "malformed"),
            ("<html><body/></html>", "not the description"),
            ("<node/><node/>", "not the description"),
            ("<node><interface name='a.b", "malformed"),
            ("<!DOCTYPE n [<!ENTITY a 'b'>]><node><node name='&a;'/></node>", "malformed"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_depth_bomb_takes_no_stack_and_is_refused() {
        for opened in ["<node>", "<node name='a'>", "<node><x>"] {
            let bomb = opened.repeat(1_000_000);
            assert!(read(&bomb).unwrap_err().contains("nests more"), "{opened}");
        }
    }

    #[test]
    fn what_dbus_would_not_have_is_left_out_and_named_and_the_rest_is_kept() {
        for bad in [
            "<node name='..'/>",
            "<node name='/'/>",
            "<node name=''/>",
            "<node/>",
            "<node name='/org/example'/>",
            "<node name='a//b'/>",
            "<interface name='x'><method name='M'/></interface>",
            "<interface name='a.c'><method name='a b'/></interface>",
            "<interface name='a.c'><property name='P' type='((' access='read'/></interface>",
            "<interface name='a.c'><method name='M'><arg type='z'/></method></interface>",
        ] {
            let text = format!(
                "<node>{bad}<node name='good'/><interface name='a.b'><method name='Good'/></interface></node>"
            );
            let described = read(&text).unwrap();
            assert!(described.flaw.is_some(), "{bad}");
            assert_eq!(described.children, ["good"], "{bad}");
            assert!(described.interfaces["a.b"].methods.contains_key("Good"), "{bad}");
        }
        let long = format!(
            "<node><interface name='a.b'><property name='P' type='{}'/></interface></node>",
            "(".repeat(100_000)
        );
        assert!(read(&long).unwrap().flaw.is_some());
    }

    #[test]
    fn members_without_end_are_refused() {
        let text = format!("<node>{}</node>", "<node name='a'/>".repeat(MEMBERS + 1));
        assert!(read(&text).unwrap_err().contains("more than"));
    }

    fn kind() -> impl Strategy<Value = String> {
        proptest::sample::select(vec!["s", "u", "a{sv}", "(ias)", "aa{oas}", "v", "h"])
            .prop_map(str::to_owned)
    }

    fn arguments() -> impl Strategy<Value = Vec<Argument>> {
        proptest::collection::vec(
            ("[a-z]{0,6}", kind()).prop_map(|(name, kind)| Argument { name, kind }),
            0..4,
        )
    }

    fn interface() -> impl Strategy<Value = Interface> {
        let member = "[A-Z][A-Za-z0-9_]{0,12}";
        let access = proptest::sample::select(vec![Access::Read, Access::Write, Access::ReadWrite]);
        let method = (arguments(), arguments()).prop_map(|(takes, gives)| Method { takes, gives });
        let property = (kind(), access).prop_map(|(kind, access)| Property { kind, access });
        (
            proptest::collection::btree_map(member, method, 0..4),
            proptest::collection::btree_map(member, property, 0..4),
            proptest::collection::btree_map(member, arguments(), 0..4),
        )
            .prop_map(|(methods, properties, signals)| Interface { methods, properties, signals })
    }

    fn written(described: &Described) -> String {
        let argument = |a: &Argument, more: &str| format!("<arg name='{}' type='{}'{more}/>", a.name, a.kind);
        let mut text = String::from("<node>");
        for (name, interface) in &described.interfaces {
            text += &format!("<interface name='{name}'>");
            for (name, method) in &interface.methods {
                let takes: String = method.takes.iter().map(|a| argument(a, "")).collect();
                let gives: String = method.gives.iter().map(|a| argument(a, " direction='out'")).collect();
                text += &format!("<method name='{name}'>{takes}{gives}</method>");
            }
            for (name, property) in &interface.properties {
                let access = serde_json::to_value(property.access).unwrap();
                text += &format!("<property name='{name}' type='{}' access={access}/>", property.kind);
            }
            for (name, arguments) in &interface.signals {
                let arguments: String = arguments.iter().map(|a| argument(a, "")).collect();
                text += &format!("<signal name='{name}'>{arguments}</signal>");
            }
            text += "</interface>";
        }
        for child in &described.children {
            text += &format!("<node name='{child}'/>");
        }
        text + "</node>"
    }

    proptest! {
        #[test]
        fn whatever_a_service_describes_is_read_as_it_was_meant(
            interfaces in proptest::collection::btree_map("[a-z]{1,5}\\.[A-Z][a-z]{0,5}", interface(), 0..4),
            children in proptest::collection::vec("[A-Za-z0-9_]{1,8}(/[a-z]{1,3})?", 0..5),
        ) {
            let meant = Described { interfaces, children, flaw: None };
            prop_assert_eq!(read(&written(&meant)).unwrap(), meant);
        }

        #[test]
        fn nothing_makes_it_fall_over(text in ".{0,300}", cut in 0..900_usize, put in "[<>/'\"&; a-z]{0,12}") {
            let _ = read(&text);
            // A sound document, damaged in one place.
            let at = DOCUMENT.char_indices().map(|(at, _)| at).take_while(|at| *at <= cut).last().unwrap_or(0);
            let _ = read(&format!("{}{put}{}", &DOCUMENT[..at], &DOCUMENT[at..]));
        }
    }
}
