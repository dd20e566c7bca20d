//! Generations of templates on a real btrfs: kept, gone back to, pruned, and whole whenever a run is killed.
#![allow(clippy::unwrap_used, reason = "a fixture that fails ends the test")]

#[path = "support/templates.rs"]
mod fixture;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use fixture::{Lab, edition, from, name, names, stages, tarball};
use opdbus::engine::{self, Action};
use opdbus::fault::{Fault, Kind};
use opdbus::storage::subvolume;
use opdbus::templates::{self, Generation, TemplateError};
use support::Need;

const NAME: &str = "debian-base";

/// A host with `debian-base` built from `base.tar`, edition one, refreshed to the others.
fn lab(keep: u32, editions: &[&str]) -> Lab {
    let mut lab = Lab::new();
    let file = tarball(&lab, "base.tar", "one", |_| {});
    lab.declare(opdbus::spec::Template { keep, ..from(&file) });
    lab.apply();
    for edition in editions {
        refresh(&lab, edition);
    }
    lab.write_spec();
    lab
}

fn refresh(lab: &Lab, edition: &str) -> String {
    tarball(lab, "base.tar", edition, |_| {});
    templates::refresh(&lab.cx(), &name(NAME)).unwrap().generation
}

fn rollback(lab: &Lab, to: Option<&str>) -> String {
    templates::rollback(&lab.cx(), &name(NAME), to).unwrap();
    in_use(lab)
}

fn in_use(lab: &Lab) -> String {
    edition(&templates::find(&lab.tree(), &name(NAME)).unwrap().rootfs)
}

fn generations(lab: &Lab) -> Vec<Generation> {
    templates::generations(&lab.tree(), &name(NAME)).unwrap()
}

fn places(lab: &Lab) -> PathBuf {
    lab.tree().generations().join(NAME)
}

/// The editions of the generations that are not in use, those first that were in use last.
fn kept(lab: &Lab) -> Vec<String> {
    let kept = generations(lab).into_iter().filter(|one| !one.in_use);
    kept.map(|one| edition(&places(lab).join(one.generation).join("rootfs"))).collect()
}

/// A mount that goes with the test, however that ends.
struct Bound(PathBuf);

impl Drop for Bound {
    fn drop(&mut self) {
        support::btrfs::unmount(&self.0);
    }
}

#[test]
fn a_refresh_keeps_as_many_generations_as_the_host_spec_says_and_each_is_read_only() {
    host_test!(Need::Root, Need::Btrfs);
    let lab = lab(2, &["two", "three"]);
    assert_eq!((in_use(&lab), kept(&lab)), ("three".into(), vec!["two".into(), "one".into()]));
    refresh(&lab, "four");
    assert_eq!((in_use(&lab), kept(&lab)), ("four".into(), vec!["three".into(), "two".into()]));
    for one in generations(&lab) {
        let place =
            if one.in_use { lab.tree().template(&name(NAME)) } else { places(&lab).join(&one.generation) };
        assert!(subvolume::is_read_only(&place.join("rootfs")).unwrap());
        assert_eq!(one.record.unwrap().replaced.is_none(), one.in_use);
    }
    let listed = templates::list(&lab.tree()).unwrap();
    assert_eq!((listed.len(), listed[0].kept), (1, 2));
    assert!(lab.apply().is_empty());
    assert_eq!(names(&lab.tree().templates()), [".generations", NAME]);
}

#[test]
fn going_back_is_one_step_at_a_time_or_to_the_one_named_and_clones_stay() {
    host_test!(Need::Root, Need::Btrfs);
    let lab = lab(2, &["two", "three"]);
    let newest = generations(&lab)[0].generation.clone();
    let clone = lab.fs.path().join("clone");
    let rootfs = templates::find(&lab.tree(), &name(NAME)).unwrap().rootfs;
    subvolume::snapshot(&rootfs, &clone, false).unwrap();
    std::fs::write(clone.join("srv/own"), "it can be written to").unwrap();

    assert_eq!(rollback(&lab, None), "two");
    assert_eq!(kept(&lab), ["three", "one"]);
    assert_eq!(rollback(&lab, None), "one");
    let error = templates::rollback(&lab.cx(), &name(NAME), None).unwrap_err();
    assert!(matches!(error, TemplateError::NoGeneration { .. }) && error.kind() == Kind::NotFound, "{error}");
    assert_eq!(rollback(&lab, Some(&newest)), "three");
    assert_eq!(rollback(&lab, Some(&newest)), "three", "asked for again, it is so already");
    assert_eq!(kept(&lab), ["one", "two"]);
    let error = templates::rollback(&lab.cx(), &name(NAME), Some("../x\n")).unwrap_err();
    assert!(error.to_string().contains("\"../x\\n\""), "{error}");
    assert_eq!(edition(&clone), "three");
    let again = lab.fs.path().join("again");
    subvolume::snapshot(&rootfs, &again, false).unwrap();
    assert_eq!(std::fs::read_dir(places(&lab)).unwrap().count(), 2);
    for place in std::fs::read_dir(places(&lab)).unwrap() {
        let place = place.unwrap();
        let record = std::fs::read_to_string(place.path().join("template.json")).unwrap();
        assert!(
            record.contains(&*place.file_name().to_string_lossy()),
            "the place has its generation's name"
        );
    }
}

#[test]
fn apply_leaves_what_somebody_went_back_to_until_the_declaration_changes() {
    host_test!(Need::Root, Need::Btrfs);
    let mut lab = lab(1, &[]);
    let other = tarball(&lab, "other.tar", "two", |_| {});
    lab.declare(from(&other));
    assert_eq!(lab.apply(), [(Action::Update, format!("template {NAME}"))]);
    assert_eq!(rollback(&lab, None), "one");
    assert!(lab.apply().is_empty());
    assert_eq!(in_use(&lab), "one");
    let third = tarball(&lab, "third.tar", "three", |_| {});
    lab.declare(from(&third));
    assert_eq!(lab.apply().len(), 1);
    assert_eq!(in_use(&lab), "three");
    // What is declared again is built again, also after it was gone back from once.
    lab.declare(from(&other));
    assert_eq!(lab.apply().len(), 1);
    assert_eq!(in_use(&lab), "two");
}

#[test]
fn fewer_to_keep_removes_the_oldest_and_never_one_that_is_in_use() {
    host_test!(Need::Root, Need::Btrfs);
    let mut lab = lab(5, &["two", "three", "four"]);
    assert_eq!(kept(&lab), ["three", "two", "one"]);
    let place = |lab: &Lab, edition_: &str| {
        let mut all = generations(lab).into_iter().map(|one| places(lab).join(one.generation).join("rootfs"));
        all.find(|place| place.exists() && edition(place) == edition_).unwrap()
    };
    // A program has a file of one open, another is mounted.
    let open = std::fs::File::open(place(&lab, "one").join("srv/edition")).unwrap();
    let mount = lab.fs.beside("bound");
    std::fs::create_dir(&mount).unwrap();
    let bind = Command::new("mount").arg("--bind").arg(place(&lab, "two").join("srv")).arg(&mount).status();
    assert!(bind.unwrap().success());
    let mount = Bound(mount);
    lab.spec.templates.values_mut().for_each(|template| template.keep = 0);
    let applied = lab.apply();
    assert_eq!(applied, [(Action::Remove, format!("earlier generations of template {NAME}"))]);
    assert_eq!(kept(&lab), ["two", "one"]);
    assert!(lab.apply().is_empty(), "what is in use is no reason for a change");
    drop(open);
    assert_eq!(lab.apply().len(), 1);
    assert_eq!(kept(&lab), ["two"]);
    drop(mount);
    assert_eq!(lab.apply().len(), 1);
    assert!(kept(&lab).is_empty() && !places(&lab).exists());
    assert_eq!(in_use(&lab), "four");
    refresh(&lab, "five");
    assert!(kept(&lab).is_empty());
}

#[test]
fn a_run_that_was_stopped_at_any_step_of_an_exchange_is_ended_by_the_next() {
    host_test!(Need::Root, Need::Btrfs);
    let lab = lab(3, &["two"]);
    let template = lab.tree().template(&name(NAME));
    let one = places(&lab).join(&generations(&lab)[1].generation);
    let exchange = |a: &Path, b: &Path| subvolume::exchange(a, b).unwrap();
    let steps: [(&str, &dyn Fn(), &str); 4] = [
        (
            "a record half written",
            &|| std::fs::write(one.join(".opdbus-new-template.json-abc123"), "{").unwrap(),
            "two",
        ),
        ("exchanged, nothing more", &|| exchange(&one, &template), "one"),
        (
            "exchanged back",
            &|| exchange(&places(&lab).join(&generations(&lab)[1].generation), &template),
            "two",
        ),
        (
            "a generation that is damaged",
            &|| {
                let place = places(&lab).join("x");
                std::fs::create_dir(&place).unwrap();
                subvolume::mark(&place, "template").unwrap();
                subvolume::create(&place.join("rootfs")).unwrap();
            },
            "two",
        ),
    ];
    for (step, make, edition) in steps {
        make();
        assert_eq!(
            lab.apply(),
            [(Action::Update, format!("earlier generations of template {NAME}"))],
            "{step}"
        );
        assert!(lab.apply().is_empty(), "{step}");
        assert_eq!(in_use(&lab), edition, "{step}");
        let all = generations(&lab);
        assert_eq!(all.len(), 2, "{step}");
        assert_eq!(names(&places(&lab)), [all[1].generation.clone()], "{step}");
        assert_eq!(names(&places(&lab).join(&all[1].generation)), ["rootfs", "template.json"], "{step}");
    }
}

#[test]
fn killed_while_it_goes_back_one_or_the_other_is_whole_and_nothing_is_lost() {
    host_test!(Need::Root, Need::Btrfs);
    let lab = lab(2, &["two", "three"]);
    let all: Vec<String> = generations(&lab).into_iter().map(|one| one.generation).collect();
    let start = std::time::Instant::now();
    assert!(lab.program(&["rollback", NAME, &all[1]]).output().unwrap().status.success());
    let mut whole = start.elapsed();
    let mut killed = 0;
    for i in 0..30_u32 {
        let to =
            generations(&lab).into_iter().filter(|one| !one.in_use).nth(i as usize % 2).unwrap().generation;
        let mut child =
            lab.program(&["rollback", NAME, &to]).stdout(std::process::Stdio::null()).spawn().unwrap();
        // All over the run, whichever part of it is long.
        let after = whole * (i * 7 % 30 + 1) / 31;
        std::thread::sleep(after);
        let _ = child.kill();
        if child.wait().unwrap().success() {
            // The first run was slower than they are now: this one took no longer than that.
            whole = after;
        } else {
            killed += 1;
        }
        in_use(&lab);
        let mut found: Vec<String> = generations(&lab).into_iter().map(|one| one.generation).collect();
        found.sort();
        let mut before = all.clone();
        before.sort();
        assert_eq!(found, before, "every generation is there once, whole");
    }
    assert!(killed >= 10, "only {killed} of 30 runs were killed before they ended");
    lab.apply();
    assert!(engine::plan(&stages(), &lab.cx()).unwrap().is_empty());
    assert_eq!(names(&lab.tree().templates()), [".generations", NAME]);
    assert_eq!(kept(&lab).len(), 2);
}

#[test]
fn the_program_lists_generations_goes_back_and_removes_all_of_them_with_the_template() {
    host_test!(Need::Root, Need::Btrfs);
    let lab = lab(2, &["two"]);
    let run = |args: &[&str]| {
        let output = lab.program(args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    };
    let (code, text) = run(&["generations", NAME]);
    assert!(code == 0 && text.contains("IN USE") && text.lines().count() == 3, "{text}");
    let (code, text) = run(&["rollback", NAME]);
    assert!(code == 0 && text.contains("now in use: template debian-base"), "{text}");
    assert_eq!(in_use(&lab), "one");
    let (code, text) = run(&["rollback", NAME, "nothing"]);
    assert!(code == 4 && text.contains("opdbus-template generations debian-base"), "{text}");
    assert_eq!(run(&["generations", "none"]).0, 4);
    let (_, text) = run(&["list"]);
    assert!(text.contains("EARLIER") && text.contains(&generations(&lab)[0].generation), "{text}");

    // What is not ours stays, and is in nobody's way.
    std::fs::create_dir(places(&lab).join("notes")).unwrap();
    assert_eq!(run(&["remove", NAME, "--yes", "--force"]).0, 0);
    assert_eq!((lab.names().len(), names(&places(&lab))), (0, vec!["notes".to_owned()]));
    assert_eq!(run(&["remove", NAME, "--yes", "--force"]).0, 4);
}
