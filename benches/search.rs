//! Search over the ledger: a question from its words to its entries beside the embedding of one sentence; the scan of all
//! vectors beside FAISS's flat index; how both grow; and what embedding costs who appends, and an index that is made anew.
//!
//! The ledgers are those of `tests/search`, made long. An entry of a long one has the vector of the entry that it was made of,
//! moved a little at random: a hundred thousand sentences would be embedded for twenty minutes, and a scan takes as long
//! whatever it scans. All else is what the programs do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::type_complexity,
    clippy::large_types_passed_by_value,
    reason = "a bench: what fails ends it, and it prints what it measured"
)]

#[path = "../tests/support/past.rs"]
mod past;
#[path = "../tests/support/searched.rs"]
mod searched;
mod support;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use opdbus::deployment::Deployment;
use opdbus::ledger::{Call, Caller, Filter, Ledger, NewEntry, Outcome, Via};
use opdbus::search::embed::{Embedder, Vector};
use opdbus::search::glosses;
use opdbus::search::index::Index;
use opdbus::search::model::{DIMENSIONS, FILES};
use opdbus::search::remembered::Remembering;
use opdbus::search::rows::Rows;
use opdbus::search::sentence;
use opdbus::search::store::{Store, Through};
use opdbus::search::wire::{self, Asked, By, Found, Search};
use opdbus::spec::ExecutionProvider;
use searched::Bare;
use serde_json::{Value, json};
use support::{Limit, median, not_measured, ratio, row, timed, told};

/// How many entries a ledger has, and how many a long one.
const MANY: [i64; 2] = [100_000, 1_000_000];

/// How many entries are looked at more closely, as `search::index` has it, and how many are wanted.
const CANDIDATES: usize = 64;
const NEAREST: usize = 10;

/// How many appends are measured at once, and how often.
const APPENDS: usize = 40;
const ROUNDS: usize = 30;

/// How often an index is made anew.
const REBUILDS: usize = 3;

/// How far a vector is moved: two of the same entry then have a cosine of 0.89.
const MOVED: f32 = 0.35;

/// The same numbers in each run.
struct Random(u64);

impl Random {
    /// One of a normal distribution.
    fn next(&mut self) -> f32 {
        let mut uniform = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 40) as f32 + 0.5) / (1 << 24) as f32
        };
        (-2.0 * uniform().ln()).sqrt() * (std::f32::consts::TAU * uniform()).cos()
    }

    /// A point of the unit sphere.
    fn unit(&mut self) -> Vector {
        unit(std::array::from_fn(|_| self.next()))
    }

    fn near(&mut self, to: &Vector) -> Vector {
        let other = self.unit();
        unit(std::array::from_fn(|i| to[i] + MOVED * other[i]))
    }
}

fn unit(vector: Vector) -> Vector {
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    vector.map(|v| v / length)
}

fn product(a: &Vector, b: &Vector) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What all parts work with.
struct Given {
    model: PathBuf,
    embedder: Embedder,
    threads: u16,
    target: PathBuf,
}

impl Given {
    fn ml(&self) -> String {
        json!({ "enable": true, "model": self.model, "numThreads": self.threads }).to_string()
    }

    /// Embeds a sentence, of which nothing is wanted but the time it takes.
    fn embed(&self, sentence: &str) {
        std::hint::black_box(self.embedder.embed(sentence).unwrap());
    }

    fn embedder(&self) -> Embedder {
        Embedder::load(&self.model, ExecutionProvider::Cpu).unwrap()
    }

    /// The vectors of the entries of `tests/search`.
    fn real(&self) -> Vec<Vector> {
        let dir = tempfile::tempdir_in(&self.target).unwrap();
        let ledger = past::ledger(&dir.path().join("blockchain.db"));
        let path = dir.path().join("index.db");
        let embedder = Remembering::new(self.embedder(), None);
        let (mut index, _) = Index::open(&path, &ledger, Some(embedder), &glosses).unwrap();
        index.catch_up().unwrap();
        while index.embed_some().unwrap() > 0 {}
        drop(index);
        let exact = store(&path, &ledger).exact(&(2..=251).collect::<Vec<_>>()).unwrap();
        (2..=251).map(|id| exact[&id]).collect()
    }
}

/// The index of a ledger, to be written by hand.
fn store(path: &Path, ledger: &Path) -> Store {
    let filter = Filter { ids: Some(1..=1), ..Filter::default() };
    let first = Ledger::read(ledger, |ledger| ledger.entries(&filter)).unwrap();
    Store::open(path, &first[0].current_hash).unwrap().0
}

/// A host with a long ledger and all of its index.
struct Large {
    bare: Bare,
    store: Store,
    rows: Rows,
}

impl Large {
    fn new(given: &Given, entries: i64, vector: impl FnMut(i64) -> Vector) -> Self {
        let began = Instant::now();
        let bare = Bare::below(&given.target, &given.ml(), |path| past::long(path, entries));
        let ledger = bare.at("base/@timing/blockchain.db");
        let (mut index, _) = Index::open(&bare.index(), &ledger, None, &glosses).unwrap();
        assert_eq!(index.catch_up().unwrap() as i64, entries);
        drop(index);
        let mut store = store(&bare.index(), &ledger);
        store.of_model(FILES[0].sha256).unwrap();
        let rows = give(&mut store, entries, vector);
        eprintln!("# {entries} entries with words and vectors in {:.0?}", began.elapsed());
        Self { bare, store, rows }
    }
}

/// Gives all entries their vectors.
fn give(store: &mut Store, entries: i64, mut vector: impl FnMut(i64) -> Vector) -> Rows {
    let mut rows = Rows::default();
    for first in (1..=entries).step_by(10_000) {
        let some: Vec<_> = (first..=entries.min(first + 9_999)).map(|id| (id, vector(id))).collect();
        store.give(&some, &mut rows).unwrap();
    }
    assert_eq!((rows.len() as i64, store.count().unwrap().1), (entries, 0));
    rows
}

/// The questions of `tests/search`.
fn questions() -> Vec<String> {
    let sets =
        [include_str!("../tests/search/everyday.jsonl"), include_str!("../tests/search/questions.jsonl")];
    let all = sets.into_iter().flat_map(past::lines::<Value>);
    let texts: BTreeSet<String> = all.map(|line| line["question"].as_str().unwrap().to_owned()).collect();
    texts.into_iter().collect()
}

fn ask(bare: &Bare, query: &str) -> Found {
    let search = Search { query: query.into(), limit: 10, since: None, until: None, explain: false };
    wire::ask(&bare.at("run"), &Asked::Search(search)).unwrap()
}

/// What a question is about beside a meaning.
fn kind(found: &Found) -> &'static str {
    let understood = &found.understood;
    match (understood.since.or(understood.until).is_some(), understood.names.is_empty()) {
        (true, true) => "with a time",
        (true, false) => "with a time and a name",
        (false, false) => "with a name",
        (false, true) if understood.caller.is_some() || understood.outcome.is_some() => {
            "with who asked or how it ended"
        }
        (false, true) => "of a meaning alone",
    }
}

/// Questions, from the words to the entries, and the embedding of the sentence that each of them has embedded. Each is
/// asked once: what was asked before is remembered.
fn query(given: &Given, large: &Large) -> (Duration, Duration) {
    let _running = large.bare.start();
    assert_eq!(large.bare.status().behind, 0);
    for warm in ["a first question", "which brings what it needs", "into memory"] {
        ask(&large.bare, warm);
    }
    let mut kinds: BTreeMap<&str, (Vec<Duration>, Vec<Duration>)> = BTreeMap::new();
    for question in questions() {
        let began = Instant::now();
        let found = ask(&large.bare, &question);
        let took = began.elapsed();
        // Of a time or a user alone, nothing is embedded.
        if found.by == By::Meaning {
            let (ours, theirs) = kinds.entry(kind(&found)).or_default();
            ours.push(took);
            theirs.push(timed(|| given.embed(&found.understood.text)));
        }
    }
    let all = |one: fn(&(Vec<Duration>, Vec<Duration>)) -> &Vec<Duration>| {
        median(kinds.values().flat_map(one).copied().collect())
    };
    let whole = (all(|(ours, _)| ours), all(|(_, theirs)| theirs));
    for (kind, (ours, theirs)) in kinds {
        let (count, ours, theirs) = (ours.len(), median(ours), median(theirs));
        told(
            &format!("the same of {} entries, {count} questions {kind}", large.rows.len()),
            ours.as_secs_f64() / theirs.as_secs_f64(),
            &format!("{ours:.1?} : {theirs:.1?}"),
        );
    }
    whole
}

/// The ten nearest: the scan, and the exact numbers of the best.
fn nearest(rows: &Rows, store: &Store, question: &Vector) -> Vec<i64> {
    let through = Through::default();
    let near = rows.nearest(question, CANDIDATES, |facts| through.lets(facts));
    let exact = store.exact(&near).unwrap();
    let mut near: Vec<(f32, i64)> =
        exact.into_iter().map(|(id, vector)| (product(&vector, question), id)).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(NEAREST).map(|(_, id)| id).collect()
}

/// FAISS, in a process of its own.
struct Faiss {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Faiss {
    fn new(
        python: &OsString,
        dir: &Path,
        vectors: impl Iterator<Item = Vector>,
        questions: &[Vector],
    ) -> Self {
        let write = |name: &str, vectors: &mut dyn Iterator<Item = Vector>| {
            let path = dir.join(name);
            let mut file = BufWriter::new(std::fs::File::create(&path).unwrap());
            vectors.for_each(|vector| vector.iter().for_each(|v| file.write_all(&v.to_le_bytes()).unwrap()));
            file.flush().unwrap();
            path
        };
        let paths = [write("vectors", &mut { vectors }), write("questions", &mut questions.iter().copied())];
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/faiss_flat.py"))
            .args(&paths)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (asks, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut faiss = Self { child, asks, answers };
        assert_eq!(faiss.line().trim(), "ready");
        faiss
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line
    }

    /// The numbers of the ten nearest to a question, and how long that took.
    fn ask(&mut self, question: usize) -> (Duration, HashSet<i64>) {
        writeln!(self.asks, "{question}").unwrap();
        let line = self.line();
        let mut numbers = line.split(' ').map(|number| number.trim().parse::<i64>().unwrap());
        (Duration::from_nanos(numbers.next().unwrap().unsigned_abs()), numbers.collect())
    }
}

impl Drop for Faiss {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The scan beside FAISS's, question by question, and how many of the really nearest it finds.
fn scan(
    what: &str,
    rows: &Rows,
    store: &Store,
    questions: &[Vector],
    vector: impl FnMut(i64) -> Vector,
) -> Duration {
    let ours = |question| {
        let began = Instant::now();
        let found = nearest(rows, store, question);
        (began.elapsed(), found)
    };
    questions.iter().take(10).for_each(|question| drop(ours(question)));
    let name = format!("a scan of 100,000 {what}, and the exact numbers, to FAISS IndexFlatIP");
    let Some(python) = std::env::var_os("OPDBUS_BENCH_FAISS") else {
        not_measured(&name, "faiss-cpu could not be had from PyPI");
        return median(questions.iter().map(|question| ours(question).0).collect());
    };
    let dir = tempfile::tempdir().unwrap();
    let mut faiss = Faiss::new(&python, dir.path(), (1..=rows.len() as i64).map(vector), questions);
    let (mut our_times, mut their_times, mut found) = (Vec::new(), Vec::new(), 0);
    for (number, question) in questions.iter().enumerate() {
        let (took, near) = ours(question);
        our_times.push(took);
        let (took, exact) = faiss.ask(number);
        their_times.push(took);
        // Its first has the number 0.
        found += near.iter().filter(|id| exact.contains(&(*id - 1))).count();
    }
    let (ours, theirs) = (median(our_times), median(their_times));
    row(&name, ours, theirs, Limit::AtMost(1.0));
    ratio(
        &format!("recall@10 of that, of 100,000 {what}"),
        found as f64 / (questions.len() * NEAREST) as f64,
        Limit::AtLeast(0.99),
        &format!("{} questions", questions.len()),
    );
    ours
}

fn entry(number: usize, entries: &[NewEntry]) -> NewEntry {
    let mut entry = entries[number % entries.len()].clone();
    entry.target = format!("{}-{number}", entry.target);
    entry
}

/// Entries as callers make them.
fn calls() -> Vec<NewEntry> {
    let caller = Caller { uid: Some(1000), user: "alice".into(), via: Via::Dbus };
    let lines: Vec<Value> = past::lines(include_str!("../tests/search/entries.jsonl"));
    let made = lines.iter().map(|line| {
        let arguments = line["metadata"]["arguments"].as_object().cloned().unwrap_or_default();
        NewEntry::call(Call {
            operation: line["operation"].as_str().unwrap(),
            target: line["target"].as_str().unwrap(),
            caller: &caller,
            arguments,
            outcome: Outcome::Ok,
            duration: Duration::from_millis(17),
            deployment: Deployment::Traditional,
        })
    });
    made.collect()
}

/// Appends with the index's process told of each, embedding behind it, and without. In turn, and the process has come to
/// rest before each round without.
fn append(given: &Given) {
    let calls = calls();
    let bare = Bare::below(&given.target, &given.ml(), |path| drop(past::ledger(path)));
    let (ledger, run) = (bare.ledger(), bare.at("run"));
    let process = bare.start();
    // As its unit has it; of its weight among control groups, too, it would have less.
    let id = rustix::process::Pid::from_raw(process.id().try_into().unwrap());
    rustix::process::setpriority_process(id, 10).unwrap();
    let mut number = 0;
    let mut appends = |rings: bool| {
        assert_eq!(bare.settled().behind, 0);
        timed(|| {
            for _ in 0..APPENDS {
                ledger.append(&entry(number, &calls)).unwrap();
                number += 1;
                if rings {
                    wire::ring(&run);
                }
            }
        })
    };
    let (mut on, mut off) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for rings in [round % 2 == 0, round % 2 == 1] {
            let took = appends(rings);
            if rings { on.push(took) } else { off.push(took) }
        }
    }
    let bell = median((0..ROUNDS).map(|_| timed(|| (0..APPENDS).for_each(|_| wire::ring(&run)))).collect());
    let (on, off) = (median(on), median(off));
    ratio(
        "appends while entries are embedded, in the time of those without",
        off.as_secs_f64() / on.as_secs_f64(),
        Limit::AtLeast(0.95),
        &format!(
            "{:.1?} : {:.1?} each, of which the bell {:.1?}",
            off / APPENDS as u32,
            on / APPENDS as u32,
            bell / APPENDS as u32
        ),
    );
}

/// An index made anew, with nothing remembered, beside the embedding of its sentences, each once.
fn rebuild(given: &Given) {
    let dir = tempfile::tempdir_in(&given.target).unwrap();
    let ledger = past::ledger(&dir.path().join("blockchain.db"));
    let entries =
        Ledger::read(&ledger, |ledger| ledger.entries(&Filter { limit: Some(1000), ..Filter::default() }));
    let sentences: BTreeSet<String> = entries
        .unwrap()
        .iter()
        .flat_map(|entry| [sentence::done(entry, &glosses), sentence::particular(entry)].concat())
        .collect();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..REBUILDS {
        theirs.push(timed(|| sentences.iter().for_each(|one| given.embed(one))));
        let dir = dir.path().join(round.to_string());
        std::fs::create_dir(&dir).unwrap();
        let embedder = Remembering::new(given.embedder(), Some(&dir));
        ours.push(timed(|| {
            let (mut index, _) =
                Index::open(&dir.join("index.db"), &ledger, Some(embedder), &glosses).unwrap();
            loop {
                index.catch_up().unwrap();
                if index.embed_some().unwrap() == 0 {
                    break;
                }
            }
            assert_eq!(index.count().unwrap(), (251, 0));
        }));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    row(
        &format!("an index made anew, to the embedding of its {} sentences", sentences.len()),
        ours,
        theirs,
        Limit::AtMost(1.3),
    );
}

fn large(given: &Given, wanted: &dyn Fn(&str) -> bool) {
    let real = given.real();
    let vector = |id: i64| Random(id.unsigned_abs()).near(&real[(id as usize) % real.len()]);
    let asked: Vec<Vector> = questions().iter().map(|one| given.embedder.embed(one).unwrap()).collect();
    let [few, many] = MANY;
    let mut first = Large::new(given, few, vector);
    let mut queried = None;
    if wanted("query") || wanted("million") {
        let (ours, theirs) = query(given, &first);
        queried = Some(ours);
        row(
            "a question to 100,000 entries, from its words to the entries, to the embedding of its sentence",
            ours,
            theirs,
            Limit::AtMost(2.0),
        );
    }
    let mut scanned = None;
    if wanted("scan") || wanted("million") {
        scanned = Some(scan("embeddings", &first.rows, &first.store, &asked, vector));
    }
    if wanted("scan") {
        let vector = |id: i64| Random(id.unsigned_abs()).unit();
        let asked: Vec<Vector> = (0..200).map(|n| Random(u64::MAX - n).unit()).collect();
        let rows = give(&mut first.store, few, vector);
        scan("random vectors", &rows, &first.store, &asked, vector);
    }
    drop(first);
    if let (true, Some(queried), Some(scanned)) = (wanted("million"), queried, scanned) {
        let million = Large::new(given, many, vector);
        let times =
            asked.iter().map(|question| timed(|| drop(nearest(&million.rows, &million.store, question))));
        let times: Vec<Duration> = times.collect();
        row("a scan of 1,000,000 entries to one of 100,000", median(times), scanned, Limit::AtMost(10.0));
        let (ours, _) = query(given, &million);
        row("a question to 1,000,000 entries to one to 100,000", ours, queried, Limit::AtMost(10.0));
    }
}

/// All parts, or those that are named: query, scan, million, append, rebuild.
fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    let Some(model) = std::env::var_os("OPDBUS_TEST_MODEL").map(PathBuf::from) else {
        not_measured("search over the ledger", "the model could not be had from PyPI");
        return;
    };
    // Of this process; what computes here reads it.
    let threads = std::env::var("RAYON_NUM_THREADS").ok().and_then(|threads| threads.parse().ok());
    let given = Given {
        embedder: Embedder::load(&model, ExecutionProvider::Cpu).unwrap(),
        model,
        threads: threads.expect("RAYON_NUM_THREADS says how many threads compute"),
        target: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target")),
    };
    assert_eq!(given.embedder.embed("warm").unwrap().len(), DIMENSIONS);
    if wanted("rebuild") {
        rebuild(&given);
    }
    if wanted("append") {
        append(&given);
    }
    if wanted("query") || wanted("scan") || wanted("million") {
        large(&given, &wanted);
    }
}
