//! `op-dbus`: the command line as a projection of the operations registry, and a few commands that need
//! no daemon.

use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use serde_json::{Value, json};

use super::manual;
use super::output::{Out, TerminalProgress, finish};
use crate::dbus::Client;
use crate::fault::{Kind, Report};
use crate::ops::{Effect, Operation, Registry};
use crate::paths::Paths;
use crate::spec::{self, Extent, HostSpec};

/// The groups of operations, for `--help`.
const GROUPS: [(&str, &str); 3] = [
    ("container", "Containers: clones of a template with an address and grants of their own"),
    ("template", "Templates: the root file systems that containers are cloned from"),
    ("ledger", "The ledger: every call, who made it, and how it ended"),
];

const EXIT_CODES: &str = "Exit status: 0 done, 1 failed, 2 usage, 3 invalid, 4 not found, 5 conflict, 6 denied,\n7 unavailable, 8 another run is under way.";

/// The whole command line.
#[must_use]
pub fn command() -> Command {
    let json = Arg::new("json")
        .long("json")
        .global(true)
        .action(ArgAction::SetTrue)
        .help("Print the answer as JSON");
    let mut root = Command::new("op-dbus")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Declared infrastructure on one host: subvolumes, a bridge, containers, and a ledger of it all")
        .long_about(
            "Declared infrastructure on one host: btrfs subvolumes, an Open vSwitch bridge with its flows, \
             containers cloned from templates, and a ledger of every operation.\n\nop-dbus asks the daemon opdbusd \
             over the system bus. Root and members of the group opdbus may use it; some operations are root's alone.",
        )
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(json);
    let registry = Registry::default();
    for operation in registry.iter().filter(|op| !op.name.contains('.')) {
        root = root.subcommand(with_confirmation(operation));
    }
    for (group, about) in GROUPS {
        let mut command =
            Command::new(group).about(about).subcommand_required(true).arg_required_else_help(true);
        for operation in registry.iter().filter(|op| op.name.split_once('.').is_some_and(|(g, _)| g == group))
        {
            command = command.subcommand(with_confirmation(operation));
        }
        root = root.subcommand(command);
    }
    root.subcommand(config_command()).subcommand(completions_command()).subcommand(man_command())
}

/// What destroys asks first, and takes `--yes`.
fn with_confirmation(operation: &Operation) -> Command {
    let command = operation.command();
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
        Some(("completions", matches)) => {
            if let Some(shell) = matches.get_one::<Shell>("shell") {
                out.text(&manual::completions(*shell));
            }
            Ok(ExitCode::SUCCESS)
        }
        Some(("man", matches)) => {
            if let Some(directory) = matches.get_one::<PathBuf>("all") {
                let written = manual::write_pages(directory)?;
                out.answer(&json!({ "pages": written }), |_| String::new());
            } else if let Some(page) = manual::pages()?.get("op-dbus.1") {
                out.text(page);
            }
            Ok(ExitCode::SUCCESS)
        }
        Some((name, matches)) => {
            let (name, matches) = match matches.subcommand() {
                Some((verb, inner)) => (format!("{name}.{verb}"), inner),
                None => (name.to_owned(), matches),
            };
            operation(&name, matches, out)
        }
        None => Err(Report::new(Kind::Invalid, "no command was given")),
    }
}

fn operation(name: &str, matches: &ArgMatches, out: Out) -> Result<ExitCode, Report> {
    let registry = Registry::default();
    let operation = registry.find(name)?;
    let arguments = operation.arguments(matches).map_err(|e| Report::new(Kind::Invalid, e.to_string()))?;
    if operation.effect == Effect::Destroy && !matches.get_flag("yes") {
        confirm(operation, &arguments)?;
    }
    let streams = if name == "container.exec" && !out.json { Some(own_streams()?) } else { None };
    let streaming = streams.is_some();
    let progress = TerminalProgress::new(out.json || streaming);
    let client = Client::connect()?;
    let answer = client.call(name, &arguments, streams, &progress)?;
    drop(progress);
    if streaming {
        let status = answer["status"].as_i64().and_then(|s| u8::try_from(s).ok()).unwrap_or(1);
        return Ok(ExitCode::from(status));
    }
    let failed = verification_failed(name, &answer);
    if out.json {
        out.answer(&answer, |_| String::new());
    } else {
        let text = operation.text(answer)?;
        out.answer(&Value::Null, |_| text);
    }
    Ok(if failed { ExitCode::from(Kind::Failed.exit_code()) } else { ExitCode::SUCCESS })
}

/// A ledger that does not verify is an answer, and a failure all the same.
fn verification_failed(name: &str, answer: &Value) -> bool {
    name == "ledger.verify" && answer["first_bad"].is_object()
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
            out.answer(&json!({ "ok": true, "path": path }), |_| format!("{} is valid", path.display()));
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
            out.answer(&json!({ "nix": nix }), |_| nix.trim_end().to_owned());
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
