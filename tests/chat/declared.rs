//! An operation is understood by what it declares, whatever it is.

use std::marker::PhantomData;

use opdbus::fault::{Kind, Report};
use opdbus::grammar::{Grammar, Reading, Why};
use opdbus::ops::{Call, Choices, Effect, Op, Registry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An operation that nobody thought of.
struct Paint<S>(PhantomData<S>);

/// Its arguments.
#[derive(clap::Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PaintArgs {
    /// What is painted.
    shed: String,
    /// The colours.
    #[arg(long)]
    #[serde(default)]
    colours: Vec<String>,
    /// How many coats.
    #[arg(long, default_value_t = 1)]
    #[serde(default)]
    coats: u32,
}

/// What is different from one of these operations to another.
trait Said {
    const NAME: &'static str;
    const PHRASES: &'static [&'static str];
}

impl<S: Said> Op for Paint<S> {
    const NAME: &'static str = S::NAME;
    const SUMMARY: &'static str = "Paint a shed";
    const EFFECT: Effect = Effect::Change;
    const PHRASES: &'static [&'static str] = S::PHRASES;
    const CHOICES: &'static [(&'static str, Choices)] = &[("colours", || vec!["red", "light-blue"])];
    type Args = PaintArgs;
    type Answer = Value;

    fn target(args: &PaintArgs) -> String {
        args.shed.clone()
    }
    fn run(_: &Call<'_>, _: PaintArgs) -> Result<Value, Report> {
        Err(Report::new(Kind::Unavailable, "there is no paint"))
    }
    fn text(_: &Value) -> String {
        String::new()
    }
}

struct Once;
impl Said for Once {
    const NAME: &'static str = "shed.paint";
    const PHRASES: &'static [&'static str] =
        &["paint [the] shed {shed}", "+ in {colours, …}", "+ with {coats} (coat|coats) [of paint]"];
}

struct Again;
impl Said for Again {
    const NAME: &'static str = "shed.colour";
    const PHRASES: &'static [&'static str] = &["(paint|colour) [the] shed {shed}"];
}

struct Wrong;
impl Said for Wrong {
    const NAME: &'static str = "shed.burn";
    const PHRASES: &'static [&'static str] = &["burn [the shed {shed}"];
}

/// One that has no phrase.
struct Silent;
impl Said for Silent {
    const NAME: &'static str = "shed.sell";
    const PHRASES: &'static [&'static str] = &[];
}

#[test]
fn an_operation_is_understood_by_what_it_declares() {
    let grammar = Grammar::new(&Registry::default().with::<Paint<Once>>().with::<Paint<Silent>>()).unwrap();
    for (typed, name, expected) in [
        (
            "please paint the shed garden-1 with two coats and in red, light blue and light-blue",
            "shed.paint",
            json!({"shed": "garden-1", "coats": 2, "colours": ["red", "light-blue", "light-blue"]}),
        ),
        ("shed paint garden-1 --colours red", "shed.paint", json!({"shed": "garden-1", "colours": ["red"]})),
        ("op-dbus shed sell garden-1", "shed.sell", json!({"shed": "garden-1"})),
    ] {
        match grammar.read(typed) {
            Reading::Call { operation, arguments } => {
                assert_eq!((operation.name, arguments), (name, expected));
            }
            other => panic!("{typed}: {other:?}"),
        }
    }
    for typed in [
        "paint the shed garden-1 in green",
        "shed paint garden-1 --colours green",
        "shed sell ; --colours red",
    ] {
        assert!(matches!(grammar.read(typed), Reading::Nothing(_)), "{typed}");
    }
}

#[test]
fn what_means_two_things_means_nothing_and_both_are_offered() {
    let grammar = Grammar::new(&Registry::default().with::<Paint<Once>>().with::<Paint<Again>>()).unwrap();
    let Reading::Nothing(unclear) = grammar.read("paint the shed garden-1") else { panic!("it was read") };
    assert_eq!(unclear.why, Why::Ambiguous);
    let offered: Vec<&str> = unclear.nearest.iter().map(|near| near.operation.name).collect();
    assert_eq!(offered, ["shed.paint", "shed.colour"]);
    assert!(matches!(grammar.read("colour the shed garden-1"), Reading::Call { .. }));
}

#[test]
fn a_phrase_that_is_wrong_is_named() {
    let error = Grammar::new(&Registry::default().with::<Paint<Wrong>>()).unwrap_err();
    assert_eq!(error.of, "shed.burn");
    assert!(error.to_string().contains("a ']' is missing"), "{error}");
}
