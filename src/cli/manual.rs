//! The manual pages of all programs and the completion scripts of `op-dbus`, made from the command lines themselves.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

use super::{admin, args};
use crate::fault::{Kind, Report};
use crate::files;

/// Every page by the name of its file: one for each program and for each of its subcommands, as
/// `op-dbus-container-create.1`.
pub fn pages() -> Result<BTreeMap<String, Vec<u8>>, Report> {
    let mut pages = BTreeMap::new();
    for command in std::iter::once(admin::command()).chain(args::commands()) {
        // `help` has nothing to say that these pages do not.
        let mut command = command.disable_help_subcommand(true);
        command.build();
        render(&command, &mut pages)
            .map_err(|e| Report::new(Kind::Failed, format!("cannot render the manual pages: {e}")))?;
    }
    Ok(pages)
}

fn render(command: &Command, pages: &mut BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        render(inner, pages)?;
    }
    // A subcommand has no version; the footer names the package on every page.
    let page =
        clap_mangen::Man::new(command.clone()).source(concat!("operation-dbus ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render(&mut text)?;
    pages.insert(page.get_filename(), text);
    Ok(())
}

/// Writes every page to a directory, which is made where there is none, and says how many.
pub fn write_pages(directory: &Path) -> Result<usize, Report> {
    let failed = |verb: &str, path: &Path, e: std::io::Error| {
        let kind = if e.kind() == std::io::ErrorKind::PermissionDenied { Kind::Denied } else { Kind::Failed };
        Report::new(kind, format!("cannot {verb} {}: {e}", path.display()))
    };
    let pages = pages()?;
    std::fs::create_dir_all(directory).map_err(|e| failed("make", directory, e))?;
    for (name, text) in &pages {
        let path = directory.join(name);
        files::replace(&path, text, 0o644).map_err(|e| failed("write", &path, e))?;
    }
    Ok(pages.len())
}

/// The completion script of `op-dbus` for a shell.
#[must_use]
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut admin::command(), "op-dbus", &mut script);
    script
}

/// What is installed beside the programs, by its path below `share`: the manual pages, and the completions where the
/// shells look for them.
pub fn shared_files() -> Result<BTreeMap<String, Vec<u8>>, Report> {
    let mut all: BTreeMap<String, Vec<u8>> =
        pages()?.into_iter().map(|(name, text)| (format!("man/man1/{name}"), text)).collect();
    for (shell, path) in [
        (Shell::Bash, "bash-completion/completions/op-dbus"),
        (Shell::Fish, "fish/vendor_completions.d/op-dbus.fish"),
        (Shell::Zsh, "zsh/site-functions/_op-dbus"),
    ] {
        all.insert(path.to_owned(), completions(shell));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_and_every_verb_has_a_page_and_what_is_hidden_has_none() {
        let pages = pages().unwrap();
        for program in crate::install::PROGRAMS {
            assert!(pages.contains_key(&format!("{program}.1")), "{program}");
        }
        for page in ["op-dbus-container-create.1", "op-dbus-config-check.1", "opdbus-storage-plan.1"] {
            assert!(pages.contains_key(page), "{page}: {:?}", pages.keys());
        }
        for page in ["op-dbus-help.1", "op-dbus-man.1", "opdbus-container-start-hook.1"] {
            assert!(!pages.contains_key(page), "{page}");
        }
        let text = String::from_utf8_lossy(&pages["op-dbus-container-create.1"]);
        assert!(text.contains(".TH") && text.contains("\\-\\-template"), "{text}");
        // A page is of the program that its file says, however the package is called.
        for (name, text) in &pages {
            let heading = format!(".TH {} 1", name.trim_end_matches(".1"));
            assert!(String::from_utf8_lossy(text).contains(&heading), "{name}");
        }
    }

    #[test]
    fn every_page_that_a_unit_names_exists() {
        let pages = pages().unwrap();
        let units = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/systemd"));
        let mut named = 0;
        for entry in std::fs::read_dir(units).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            for line in text.lines().filter_map(|line| line.strip_prefix("Documentation=")) {
                for page in line.split_whitespace().filter_map(|word| word.strip_prefix("man:")) {
                    let file = page.replace("(1)", ".1");
                    assert!(pages.contains_key(&file), "{} names {page}", path.display());
                    named += 1;
                }
            }
        }
        assert!(named > 0);
    }

    #[test]
    fn pages_are_written_to_a_directory_that_was_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let man = dir.path().join("share/man");
        let written = write_pages(&man).unwrap();
        assert_eq!(std::fs::read_dir(&man).unwrap().count(), written);
        assert_eq!(written, pages().unwrap().len());
    }
}
