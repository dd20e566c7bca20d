//! `token.*`, `chat.open`: by which somebody is known at the chat's port.

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::unistd::User;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::call::Call;
use super::caller::Caller;
use super::containers::NoArgs;
use super::registry::{Effect, Op, Privilege};
use crate::fault::{Kind, Report};
use crate::tokens::{self, Minted, Order, Role, Token};

/// The most days that a token is good for.
const DAYS: u32 = 366;

/// Whose token it is: the caller's, or another's if root asks.
fn owner(caller: &Caller, user: Option<&String>) -> Result<(u32, String), Report> {
    let Some(name) = user.filter(|name| **name != caller.user) else {
        return Ok((caller.uid, caller.user.clone()));
    };
    if !caller.may(Privilege::Admin) {
        return Err(Report::new(Kind::Denied, "only root may do this for another user"));
    }
    let found = User::from_name(name).map_err(|e| {
        Report::new(Kind::Failed, format!("cannot look up the user \"{}\": {e}", name.escape_default()))
    })?;
    found.map(|user| (user.uid.as_raw(), user.name)).ok_or_else(|| {
        Report::new(Kind::NotFound, format!("there is no user \"{}\" on this host", name.escape_default()))
    })
}

/// A token makes none that may more, and none that lives on without it.
fn not_by_token(caller: &Caller) -> Result<(), Report> {
    if caller.token.is_none() {
        return Ok(());
    }
    Err(Report::new(Kind::Denied, "who is known by a token alone cannot make or take away tokens")
        .with_next("use op-dbus on the host itself"))
}

/// `token.create`
pub(super) struct Create;

/// The arguments of `token.create`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateArgs {
    /// What to call it: the program that will use it.
    name: String,
    /// What it lets its user do at most: read, operate or admin.
    #[arg(long, value_enum, default_value_t)]
    #[serde(default)]
    role: Role,
    /// For how many days it is good.
    #[arg(long, value_name = "DAYS", default_value_t = default_days())]
    #[serde(default = "default_days")]
    days: u32,
    /// Whose it is [default: yours; another's is root's to make].
    #[arg(long, value_name = "USER")]
    #[serde(default)]
    user: Option<String>,
}

fn default_days() -> u32 {
    90
}

/// A token with its secret.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Made {
    /// The secret, which is shown this once and kept nowhere.
    secret: String,
    /// The token.
    token: Token,
}

impl Op for Create {
    const NAME: &'static str = "token.create";
    const SUMMARY: &'static str = "Make a token for a program that asks over the chat's port";
    const HELP: &'static str = "The secret is printed once; the host keeps its SHA-256. It is sent as `Authorization: Bearer SECRET`. By it a program is\nyou, with what you may at that moment and no more than --role: read looks, operate changes what is in the host's care,\nadmin is root's. Who leaves the group opdbus takes nothing along.\n\nExamples:\n  op-dbus token create claude --role operate --days 30\n  op-dbus token create dashboard --role read";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Read;
    const PHRASES: &'static [&'static str] =
        &["<create> [a|another] [new] token [<named>] {name}", "+ [with] [the] role {role}"];
    type Args = CreateArgs;
    type Answer = Made;

    fn target(args: &CreateArgs) -> String {
        args.name.clone()
    }
    fn run(call: &Call<'_>, args: CreateArgs) -> Result<Made, Report> {
        not_by_token(call.caller)?;
        if !(1..=DAYS).contains(&args.days) {
            return Err(Report::new(Kind::Invalid, format!("--days is from 1 to {DAYS}")));
        }
        let (uid, user) = owner(call.caller, args.user.as_ref())?;
        let order = Order {
            kind: tokens::Kind::Named,
            name: args.name,
            uid,
            user,
            role: args.role,
            lifetime: i64::from(args.days) * 24 * 60 * 60,
        };
        let Minted { secret, token } = tokens::mint(&call.host.paths, order)?;
        call.record("token", json!({ "user": token.user, "role": token.role, "expires": token.expires }));
        Ok(Made { secret, token })
    }
    fn text(made: &Made) -> String {
        format!("{}\n{}", made.secret, line(&made.token))
    }
}

fn when(second: i64) -> String {
    Timestamp::from_second(second).map_or_else(
        |_| second.to_string(),
        |at| at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

fn line(token: &Token) -> String {
    format!("{} of {}, to {}, until {}", token.name, token.user, token.role, when(token.expires))
}

/// `token.list`
pub(super) struct List;

impl Op for List {
    const NAME: &'static str = "token.list";
    const SUMMARY: &'static str = "List your tokens and sessions; root sees everybody's";
    const EFFECT: Effect = Effect::Read;
    const PHRASES: &'static [&'static str] = &["<list> [all] [my|the] tokens"];
    type Args = NoArgs;
    type Answer = Vec<Token>;

    fn target(_: &NoArgs) -> String {
        "tokens".into()
    }
    fn run(call: &Call<'_>, _: NoArgs) -> Result<Vec<Token>, Report> {
        let mut all = tokens::list(&call.host.paths)?;
        all.retain(|token| call.caller.uid == 0 || token.uid == call.caller.uid);
        Ok(all)
    }
    fn text(all: &Vec<Token>) -> String {
        if all.is_empty() {
            return "no tokens".into();
        }
        let rows = all.iter().map(|token| {
            let kind = if token.kind == tokens::Kind::Named { "token" } else { "session" };
            [token.name.clone(), kind.into(), token.user.clone(), token.role.to_string(), when(token.expires)]
        });
        crate::table::render(["NAME", "KIND", "USER", "ROLE", "UNTIL"], rows)
    }
}

/// `token.revoke`
pub(super) struct Revoke;

/// The arguments of `token.revoke`.
#[derive(Debug, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeArgs {
    /// Its name. The sessions that came of it end, too.
    name: String,
    /// Whose it is [default: yours; another's is root's to take].
    #[arg(long, value_name = "USER")]
    #[serde(default)]
    user: Option<String>,
}

/// What was taken away.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Revoked {
    /// How many tokens and sessions.
    revoked: usize,
}

impl Op for Revoke {
    const NAME: &'static str = "token.revoke";
    const SUMMARY: &'static str = "Take a token away, and the sessions that came of it";
    const HELP: &'static str = "`chat` is the name of what came of `op-dbus chat open`.";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Read;
    const PHRASES: &'static [&'static str] = &["revoke [the] token {name}"];
    type Args = RevokeArgs;
    type Answer = Revoked;

    fn target(args: &RevokeArgs) -> String {
        args.name.clone()
    }
    fn run(call: &Call<'_>, args: RevokeArgs) -> Result<Revoked, Report> {
        not_by_token(call.caller)?;
        let (uid, user) = owner(call.caller, args.user.as_ref())?;
        let revoked = tokens::revoke(&call.host.paths, uid, &user, Some(&args.name))?;
        Ok(Revoked { revoked })
    }
    fn text(done: &Revoked) -> String {
        format!("{} taken away", done.revoked)
    }
}

/// `chat.open`
pub(super) struct Open;

/// The arguments of `chat.open`.
#[derive(Debug, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OpenArgs {
    /// What whoever signs in may do at most: read, operate or admin.
    #[arg(long, value_enum, default_value_t)]
    role: Role,
}

/// A way in.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(super) struct Opened {
    /// The link: good once, for five minutes.
    url: String,
    /// From when on it is good for nothing, in seconds since 1970-01-01T00:00:00Z.
    expires: i64,
}

impl Op for Open {
    const NAME: &'static str = "chat.open";
    const SUMMARY: &'static str = "Print a link that signs a browser in to the chat, as you";
    const HELP: &'static str = "Good once, for five minutes; the session that comes of it lasts twelve hours, or until `op-dbus token revoke chat`. The\nchat listens on this host alone unless the host spec says otherwise; from elsewhere:\n  ssh -L 8080:127.0.0.1:8080 HOST op-dbus chat open";
    const EFFECT: Effect = Effect::Change;
    const PRIVILEGE: Privilege = Privilege::Read;
    const PHRASES: &'static [&'static str] = &["open [the|a] chat"];
    type Args = OpenArgs;
    type Answer = Opened;

    fn target(_: &OpenArgs) -> String {
        "chat".into()
    }
    fn run(call: &Call<'_>, args: OpenArgs) -> Result<Opened, Report> {
        not_by_token(call.caller)?;
        let spec = call.spec()?;
        if !spec.mcp.enable {
            return Err(Report::new(Kind::Unavailable, "the host spec has no chat (mcp.enable)")
                .with_next("set mcp.enable, then op-dbus apply"));
        }
        let order = Order {
            kind: tokens::Kind::Link,
            name: "chat".into(),
            uid: call.caller.uid,
            user: call.caller.user.clone(),
            role: args.role,
            lifetime: i64::MAX,
        };
        let Minted { secret, token } = tokens::mint(&call.host.paths, order)?;
        Ok(Opened {
            url: format!("{}/chat.html#sign-in={secret}", spec.mcp.origin()),
            expires: token.expires,
        })
    }
    fn text(opened: &Opened) -> String {
        opened.url.clone()
    }
}
