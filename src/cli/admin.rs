//! `op-dbus`: the command line as a projection of the operations registry, and a few commands that need
//! no daemon.

use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use serde_json::{Value, json};

use super::agent::Agent;
use super::output::{Out, TerminalProgress, finish};
use super::{PATIENCE, answers, handed, init_logging, manual, schema};
use crate::dbus::{Client, Peer};
use crate::engine::{Host, Lock, Progress};
use crate::fault::{Kind, Report};
use crate::ops::{DRY_RUN, Effect, Operation, Registry};
use crate::paths::Paths;
use crate::run::Runner;
use crate::spec::{self, Extent, HostSpec};
use crate::{doctor, mcp};

/// The groups of operations, for `--help`.
const GROUPS: [(&str, &str); 10] = [
    ("bridge", "The bridge"),
    ("bridge.uplink", "The uplink: a network card of the host as a port of the bridge"),
    ("container", "Containers: clones of a template with an address and grants of their own"),
    ("template", "Templates: the root file systems that containers are cloned from"),
    ("snapshot", "Snapshots of our subvolumes, of plugins and of containers"),
    ("plugin", "Plugins: what is there, what is offered, and sending them to other hosts"),
    ("chat", "The chat page"),
    ("token", "Tokens, by which programs ask over the chat's port"),
    ("model", "The model by which the search knows what is meant"),
    ("ledger", "The ledger: every call, who made it, and how it ended"),
];

/// Operations that are another's with a flag: the operation, the flag and its help, the operation with it. They are
/// operations of their own where they need another right.
const FLAGGED: [(&str, &str, &str, &str); 3] = [
    (DOCTOR, "fix", "Mend what `op-dbus apply` mends", DOCTOR_FIX),
    (
        "introspect",
        "values",
        "Read the values of properties, too; root alone may, as services show root more than others",
        "introspect.values",
    ),
    ("drift", "save", "Take what is there now for the state that is compared with", "drift.save"),
];

/// The flag of what says what it would change, beside an operation's own arguments.
const REHEARSE: &str = "rehearse";

const DOCTOR: &str = "doctor";
const DOCTOR_FIX: &str = "doctor.fix";

const EXIT_CODES: &str = "Exit status: 0 done, 1 failed, 2 usage, 3 invalid, 4 not found, 5 conflict, 6 denied,\n7 unavailable, 8 another run is under way.";

/// The whole command line.
#[must_use]
pub fn command() -> Command {
    let json = Arg::new("json")
        .long("json")
        .global(true)
        .action(ArgAction::SetTrue)
        .help("Print the answer as JSON");
    let host = Arg::new("host")
        .long("host")
        .short('H')
        .global(true)
        .value_name("[USER@]HOST")
        .value_parser(Peer::host)
        .help("Ask the daemon of another host, over SSH");
    let mut root = Command::new("op-dbus")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Declared infrastructure on one host: subvolumes, a bridge, containers, and a ledger of it all")
        .long_about(
            "Declared infrastructure on one host: btrfs subvolumes, an Open vSwitch bridge with its flows, \
             containers cloned from templates, and a ledger of every operation.\n\nop-dbus asks the daemon opdbusd \
             over the system bus. Root and members of the group opdbus may use it; some operations are root's alone, \
             and polkit may grant any of them to others.\n\nWith --host it asks the daemon of another host, as the user \
             that SSH lets in there; the ledger there names that user.",
        )
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(json)
        .arg(host);
    let registry = Registry::default();
    for operation in registry.iter().filter(|op| !op.name.contains('.')) {
        let mut command = with_confirmation(operation);
        for (_, flag, help, _) in FLAGGED.into_iter().filter(|(name, ..)| *name == operation.name) {
            command = command.arg(Arg::new(flag).long(flag).action(ArgAction::SetTrue).help(help));
        }
        root = root.subcommand(command);
    }
    for (group, about) in GROUPS.into_iter().filter(|(group, _)| !group.contains('.')) {
        root = root.subcommand(group_command(&registry, group, about));
    }
    root.subcommand(config_command())
        .subcommand(mcp_command())
        .subcommand(schema::command())
        .subcommand(completions_command())
        .subcommand(man_command())
}

/// The command of a group of operations: those in it, then the groups in it.
fn group_command(registry: &Registry, group: &'static str, about: &'static str) -> Command {
    let inside = |name: &str| name.rsplit_once('.').is_some_and(|(of, _)| of == group);
    let name = group.rsplit('.').next().unwrap_or(group);
    let mut command = Command::new(name).about(about).subcommand_required(true).arg_required_else_help(true);
    for operation in registry.iter().filter(|operation| inside(operation.name)) {
        command = command.subcommand(with_confirmation(operation));
    }
    for (group, about) in GROUPS.into_iter().filter(|(group, _)| inside(group)) {
        command = command.subcommand(group_command(registry, group, about));
    }
    command
}

/// What can say what it would change takes `--dry-run`. What destroys asks first, and takes `--yes`.
pub(super) fn with_confirmation(operation: &Operation) -> Command {
    let mut command = operation.command();
    if operation.rehearses() {
        command = command.arg(
            Arg::new(REHEARSE)
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Show what would be changed, and change nothing"),
        );
    }
    if operation.effect != Effect::Destroy {
        return command;
    }
    command.arg(
        Arg::new("yes").long("yes").short('y').action(ArgAction::SetTrue).help("Do not ask for confirmation"),
    )
}

fn config_command() -> Command {
    let file = Arg::new("file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("The host spec [default: /etc/opdbus/config.json]");
    Command::new("config")
        .about("The host spec: its schema, a check, what is in force")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("schema").about("Print the JSON Schema of the host spec"))
        .subcommand(
            Command::new("check")
                .about("Check a host spec and say what is wrong, and where")
                .arg(file.clone()),
        )
        .subcommand(
            Command::new("show").about("Print the host spec with every default filled in").arg(file.clone()).arg(
                Arg::new("defaults")
                    .long("defaults")
                    .action(ArgAction::SetTrue)
                    .help("Print the defaults alone"),
            ),
        )
        .subcommand(
            Command::new("to-nix")
                .about("Print the host spec as a NixOS configuration")
                .long_about(
                    "Print the host spec as a NixOS configuration: a module that sets services.operation-dbus and \
                     evaluates to the same host spec.",
                )
                .arg(file.help("The host spec [default: /etc/opdbus/config.json]; - is standard input"))
                .arg(
                    Arg::new("all")
                        .long("all")
                        .action(ArgAction::SetTrue)
                        .help("Write every field, not only those that differ from the defaults"),
                ),
        )
}

fn mcp_command() -> Command {
    Command::new("mcp")
        .about("Serve the operations as an MCP server on standard input and output")
        .long_about(
            "Serve the operations as a server of the Model Context Protocol (MCP) on standard input and output, for the \
             program that starts it: a chat with a model, an editor.\n\nIt asks the daemon as you, and may what you may. Each \
             operation that needs no file or terminal is a tool. What destroys is confirmed first: by the program, which asks \
             you, or else by a word that the model passes on once you agreed. Every call is in the ledger.",
        )
        .after_help(
            "Examples:\n  claude mcp add host -- op-dbus mcp\n  claude mcp add web1 -- op-dbus --host admin@web1 mcp",
        )
}

fn completions_command() -> Command {
    Command::new("completions")
        .about("Print the completion script of a shell")
        .arg(Arg::new("shell").required(true).value_parser(value_parser!(Shell)))
}

/// For those who package the programs, and hidden from those who use them.
fn man_command() -> Command {
    let all = Arg::new("all")
        .long("all")
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .help("Write the pages of all programs and subcommands to this directory, one file a page");
    Command::new("man").about("Print the manual page of op-dbus (roff)").hide(true).arg(all)
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let matches = command().get_matches();
    let json = matches.get_flag("json");
    match run(&matches, Out { json }) {
        Ok(status) => status,
        Err(report) => finish(json, Err(report)),
    }
}

fn run(matches: &ArgMatches, out: Out) -> Result<ExitCode, Report> {
    match matches.subcommand() {
        Some(("config", matches)) => config(matches, out).map(|()| ExitCode::SUCCESS),
        Some(("mcp", matches)) => serve_mcp(matches).map(|()| ExitCode::SUCCESS),
        Some(("schema", matches)) => schema::print(matches, out).map(|()| ExitCode::SUCCESS),
        Some(("completions", matches)) => {
            if let Some(shell) = matches.get_one::<Shell>("shell") {
                out.text(&manual::completions(*shell));
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(("man", matches)) => {
            if let Some(directory) = matches.get_one::<PathBuf>("all") {
                let written = manual::write_pages(directory)?;
                out.answer(&answers::Pages { pages: written }, |_| String::new());
            } else if let Some(page) = manual::pages()?.get("op-dbus.1") {
                out.text(page);
            }
            Ok(ExitCode::SUCCESS)
        }
        Some((name, matches)) => {
            let (name, matches) = if let Some((verb, inner)) = matches.subcommand() {
                let (mut name, mut matches) = (format!("{name}.{verb}"), inner);
                while let Some((verb, inner)) = matches.subcommand() {
                    name = format!("{name}.{verb}");
                    matches = inner;
                }
                (name, matches)
            } else {
                let with = FLAGGED.into_iter().find(|(of, flag, ..)| *of == name && matches.get_flag(flag));
                (with.map_or(name, |(.., with)| with).to_owned(), matches)
            };
            operation(&name, matches, out)
        }
        None => Err(Report::new(Kind::Invalid, "no command was given")),
    }
}

/// Serves whoever started this program. Standard output is the protocol's alone.
fn serve_mcp(matches: &ArgMatches) -> Result<(), Report> {
    init_logging();
    let peer = matches.get_one::<Peer>("host").cloned().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Report::new(Kind::Failed, format!("cannot start: {error}")))?;
    let served = runtime.block_on(mcp::serve(&peer));
    // A read of standard input that is no pipe would be waited for.
    runtime.shutdown_background();
    served
}

fn operation(name: &str, matches: &ArgMatches, out: Out) -> Result<ExitCode, Report> {
    let peer = matches.get_one::<Peer>("host").cloned().unwrap_or_default();
    let here = peer == Peer::Here;
    let agent = if here { Some(Agent::start(Registry::default().find(name)?)) } else { None };
    perform(name, matches, out, here, |name, arguments, streams, progress| {
        let asked = Client::connect(&peer, agent.as_ref().is_some_and(Agent::runs))
            .map_err(Report::from)
            .and_then(|client| client.call(name, arguments, streams, progress));
        match asked {
            Err(report) if report.kind == Kind::Unavailable && here => {
                without_daemon(name, arguments, progress).unwrap_or(Err(report))
            }
            asked => asked,
        }
    })
}

/// Does an operation by `call`: with its confirmation, the caller's streams and files, and its answer. Streams and files
/// go with it only where it is done `here`.
pub(super) fn perform(
    name: &str,
    matches: &ArgMatches,
    out: Out,
    here: bool,
    call: impl FnOnce(&str, &Value, Option<[OwnedFd; 3]>, &dyn Progress) -> Result<Value, Report>,
) -> Result<ExitCode, Report> {
    let registry = Registry::default();
    let operation = registry.find(name)?;
    let mut arguments =
        operation.arguments(matches).map_err(|e| Report::new(Kind::Invalid, e.to_string()))?;
    let rehearsed = operation.rehearses() && matches.get_flag(REHEARSE);
    if rehearsed {
        arguments[DRY_RUN] = true.into();
    } else if operation.effect == Effect::Destroy && !matches.get_flag("yes") {
        confirm(operation, &arguments)?;
    }
    let mut files = None;
    let streams = if let Some(handed) = operation.file {
        if !here {
            return Err(Report::new(
                Kind::Unavailable,
                "a file does not pass through the bus of another host",
            )
            .with_next("ssh HOST op-dbus … with standard input or output, as `-`"));
        }
        let (opened, streams) = handed::open(handed, &arguments)?;
        files = Some(opened);
        Some(streams)
    } else if name == "container.exec" && !out.json && here {
        // A terminal does not pass through SSH: there, what the command printed comes back when it has ended.
        Some(own_streams()?)
    } else {
        None
    };
    let streaming = streams.is_some() && files.is_none();
    let progress = TerminalProgress::new(out.json || streaming);
    // Until the operation says what it is at.
    progress.report(operation.summary, None);
    let answer = call(name, &arguments, streams, &progress)?;
    drop(progress);
    if streaming {
        let status = answer["status"].as_i64().and_then(|s| u8::try_from(s).ok()).unwrap_or(1);
        return Ok(ExitCode::from(status));
    }
    if let Some(files) = files {
        let aside = files.to_stdout;
        files.finish()?;
        if aside {
            // Standard output is the stream's.
            let text = if out.json { format!("{answer:#}") } else { operation.text(answer)? };
            super::output::aside(&text);
            return Ok(ExitCode::SUCCESS);
        }
    }
    // A command in a container ends with its own status, here as on the terminal.
    if name == "container.exec" && !out.json {
        let status = answer["status"].as_i64().and_then(|s| u8::try_from(s).ok()).unwrap_or(1);
        let kept = |stream: &str| answer[stream].as_str().unwrap_or_default();
        super::output::streams(kept("stdout"), kept("stderr"));
        return Ok(ExitCode::from(status));
    }
    let failed = found_bad(name, &answer);
    // What would be changed is shown as a plan is.
    let operation = if rehearsed { registry.find("plan")? } else { operation };
    if out.json {
        out.answer(&answer, |_| String::new());
    } else {
        let text = operation.text(answer)?;
        out.answer(&Value::Null, |_| text);
    }
    Ok(if failed { ExitCode::from(Kind::Failed.exit_code()) } else { ExitCode::SUCCESS })
}

/// A ledger that does not verify and a host that is not well are answers, and failures all the same.
fn found_bad(name: &str, answer: &Value) -> bool {
    match name {
        "ledger.verify" => answer["first_bad"].is_object(),
        DOCTOR | DOCTOR_FIX => answer["healthy"] == false,
        "drift" => answer["drifted"] == true,
        // One service was named, and nothing came of it; among all, one that says nothing is no failure.
        "introspect" | "introspect.values" => {
            let services = answer["services"].as_array();
            services.is_some_and(|all| all.len() == 1 && all[0]["error"].is_string())
        }
        _ => false,
    }
}

/// A host whose daemon or bus does not run can still be looked at and mended, by root.
fn without_daemon(name: &str, arguments: &Value, progress: &dyn Progress) -> Option<Result<Value, Report>> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let checks = arguments["checks"].as_array().into_iter().flatten();
    let checks: Vec<String> = checks.filter_map(|check| check.as_str().map(str::to_owned)).collect();
    let host = Host { paths: Paths::from_env(), run: Runner::default() };
    let diagnosis = match name {
        DOCTOR => doctor::diagnose(&host, &checks, progress),
        DOCTOR_FIX => Lock::take(&host.paths.lock(), PATIENCE)
            .map_err(Report::from)
            .and_then(|_lock| doctor::fix(&host, &checks, progress, &|_| {})),
        _ => return None,
    };
    Some(diagnosis.map(|diagnosis| json!(diagnosis)))
}

fn own_streams() -> Result<[OwnedFd; 3], Report> {
    let own = |fd: std::io::Result<OwnedFd>| {
        fd.map_err(|e| Report::new(Kind::Failed, format!("cannot pass this terminal to the container: {e}")))
    };
    Ok([
        own(std::io::stdin().as_fd().try_clone_to_owned())?,
        own(std::io::stdout().as_fd().try_clone_to_owned())?,
        own(std::io::stderr().as_fd().try_clone_to_owned())?,
    ])
}

fn confirm(operation: &Operation, arguments: &Value) -> Result<(), Report> {
    let target = arguments["name"].as_str().unwrap_or("this host");
    let refused = || {
        Report::new(Kind::Invalid, format!("{} destroys, and was not confirmed", operation.name))
            .with_next("answer y, or give --yes")
    };
    if !std::io::stdin().is_terminal() {
        return Err(refused());
    }
    let mut answer = String::new();
    super::output::ask(
        &format!("{}: {target}. There is no way back. Go on? [y/N] ", operation.summary),
        &mut answer,
    )
    .map_err(|e| Report::new(Kind::Failed, format!("cannot ask: {e}")))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(refused()) }
}

fn config(matches: &ArgMatches, out: Out) -> Result<(), Report> {
    let path = |matches: &ArgMatches| {
        matches.get_one::<PathBuf>("file").cloned().unwrap_or_else(|| Paths::from_env().config())
    };
    match matches.subcommand() {
        Some(("schema", _)) => {
            let schema = spec::schema();
            out.answer(&schema, |schema| serde_json::to_string_pretty(schema).unwrap_or_default());
        }
        Some(("check", matches)) => {
            let path = path(matches);
            spec::load(&path)?;
            out.answer(&answers::Checked { ok: true, path }, |found| {
                format!("{} is valid", found.path.display())
            });
        }
        Some(("show", matches)) => {
            let spec =
                if matches.get_flag("defaults") { HostSpec::default() } else { spec::load(&path(matches))? };
            out.answer(&spec, spec::render);
        }
        Some(("to-nix", matches)) => {
            let path = path(matches);
            let spec = if path.as_os_str() == "-" {
                let text = std::io::read_to_string(std::io::stdin())
                    .map_err(|e| Report::new(Kind::Failed, format!("cannot read standard input: {e}")))?;
                spec::parse(&text)?
            } else {
                spec::load(&path)?
            };
            let extent = if matches.get_flag("all") { Extent::All } else { Extent::Changed };
            let nix = spec::to_nix(&spec, extent, &path.display().to_string());
            out.answer(&answers::Nix { nix }, |made| made.nix.trim_end().to_owned());
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_has_every_operation() {
        command().debug_assert();
        for operation in Registry::default().iter() {
            let mut command = command();
            let mut at = &mut command;
            if let Some((of, flag, ..)) = FLAGGED.iter().find(|(.., with)| *with == operation.name) {
                let of = at.find_subcommand_mut(of).unwrap();
                assert!(of.get_arguments().any(|argument| argument.get_id() == flag), "{}", operation.name);
                continue;
            }
            for part in operation.name.split('.') {
                at = at
                    .find_subcommand_mut(part)
                    .unwrap_or_else(|| panic!("{} is not on the command line", operation.name));
            }
        }
    }

    #[test]
    fn arguments_on_the_command_line_and_in_json_are_the_same() {
        let registry = Registry::default();
        let matches = command().get_matches_from([
            "op-dbus",
            "container",
            "create",
            "web-01",
            "--connect",
            "db-01",
            "--service",
            "80",
        ]);
        let (_, group) = matches.subcommand().unwrap();
        let (_, verb) = group.subcommand().unwrap();
        let arguments = registry.find("container.create").unwrap().arguments(verb).unwrap();
        assert_eq!(arguments["name"], "web-01");
        assert_eq!(arguments["connect"], json!(["db-01"]));
        assert_eq!(arguments["service"], "127.0.0.1:80");
        assert_eq!(arguments["network"], "socket");
    }

    #[test]
    fn a_hostile_name_gets_to_the_daemon_which_refuses_and_records_it() {
        let registry = Registry::default();
        for name in ["../x", "-rf", "a b", "a\nb"] {
            let matches = command().get_matches_from(["op-dbus", "container", "create", name]);
            let (_, group) = matches.subcommand().unwrap();
            let (_, verb) = group.subcommand().unwrap();
            assert_eq!(registry.find("container.create").unwrap().arguments(verb).unwrap()["name"], name);
        }
    }
}
