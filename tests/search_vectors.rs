//! Where vectors may lie: one set of tests of each place. The index itself, a Qdrant server in this process
//! (`tests/support/qdrant.rs`), and a real one, where `OPDBUS_TEST_QDRANT` names its program: that is started on loopback and
//! counted as skipped where it is not to be had. What is said of a server that fails is said of both servers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails ends the test")]

#[path = "support/qdrant.rs"]
mod qdrant;
mod support;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use opdbus::deployment::Deployment;
use opdbus::engine::Host;
use opdbus::ledger::{Call, Caller, Entry, Ledger, NewEntry, Outcome, Via};
use opdbus::paths::Paths;
use opdbus::run::Runner;
use opdbus::search::SearchError;
use opdbus::search::embed::Vector;
use opdbus::search::qdrant::{Qdrant, Settings};
use opdbus::search::serve::Worker;
use opdbus::search::store::{Store, Through};
use opdbus::search::vectors::{Local, Vectors};
use opdbus::search::when::TimeRange;
use opdbus::search::wire::{Asked, By, Found, Search};
use qdrant::Double;
use serde_json::json;
use support::Need;

const KEY: &str = "a-key-of-printable-characters";

/// No entries.
const NONE: [i64; 0] = [];

/// A vector that is near another one as their numbers are: their cosine is `near` of the difference.
fn vector(of: i64) -> Vector {
    #[allow(clippy::cast_precision_loss, reason = "small")]
    let raw: Vector = std::array::from_fn(|at| (-(at as f32 - 10.0 - of as f32).powi(2) / 2.0).exp());
    let length = raw.iter().map(|v| v * v).sum::<f32>().sqrt();
    raw.map(|v| v / length)
}

#[allow(clippy::cast_precision_loss, reason = "small")]
fn near(difference: i64) -> f64 {
    (-(difference as f64).powi(2) / 4.0).exp()
}

const CALLERS: [&str; 3] = ["root", "carol", "Jane Doe"];
const OUTCOMES: [&str; 3] = ["ok", "failed", "refused"];

/// An entry whose caller and outcome follow from its number.
fn entry(id: i64) -> Entry {
    let of = |all: [&'static str; 3], n: i64| all[usize::try_from(n % 3).unwrap()];
    Entry {
        id,
        timestamp: 1_700_000_000 + id * 60,
        operation: if id % 2 == 0 { "container.create" } else { "snapshot.create" }.into(),
        target: format!("web-{id:02}"),
        previous_hash: None,
        current_hash: format!("{id:064}"),
        metadata: json!({ "caller": { "user": of(CALLERS, id) }, "outcome": of(OUTCOMES, id / 3) }),
    }
}

/// Who has vectors somewhere: an index on this host, and the place.
struct Holder {
    store: Store,
    vectors: Box<dyn Vectors>,
}

impl Holder {
    /// Opens an index, with what its vectors' place says of whose they are.
    fn open(path: &Path, ledger: &str, model: &str, vectors: Box<dyn Vectors>) -> Self {
        let (mut store, _) = Store::open(path, ledger).unwrap();
        store.of_model(&format!("{model} {}", vectors.place())).unwrap();
        Self { store, vectors }
    }

    fn take(&mut self, ids: std::ops::RangeInclusive<i64>) {
        let entries: Vec<(Entry, String)> = ids.map(|id| (entry(id), "words".to_owned())).collect();
        self.store.add(&entries).unwrap();
    }

    fn ready(&mut self) -> Result<(), SearchError> {
        self.vectors.ready(&mut self.store)
    }

    /// Gives all that have none their vectors, a few at once; `of` is what an entry's vector is.
    fn settle(&mut self, of: impl Fn(i64) -> Vector) -> usize {
        let mut given = 0;
        self.ready().unwrap();
        loop {
            let ids = self.store.without_vector(7).unwrap();
            if ids.is_empty() {
                return given;
            }
            given += ids.len();
            let some: Vec<(Entry, Vector)> = ids.into_iter().map(|id| (entry(id), of(id))).collect();
            self.vectors.give(&mut self.store, &some).unwrap();
        }
    }

    fn nearest(&mut self, to: i64, through: &Through, count: u32) -> Vec<i64> {
        self.ready().unwrap();
        self.vectors.nearest(&self.store, &vector(to), through, count).unwrap()
    }

    fn caller(&self, name: &str) -> Option<u32> {
        self.store.callers().unwrap().into_iter().find(|(_, known)| known == name).map(|(number, _)| number)
    }
}

/// A place for vectors, and how to come to it again.
trait Place {
    /// As a host of this machine id comes to it.
    fn vectors(&self, machine: &str) -> Box<dyn Vectors>;
}

struct Here;

impl Place for Here {
    fn vectors(&self, _: &str) -> Box<dyn Vectors> {
        Box::new(Local::default())
    }
}

/// A collection on a server.
struct There {
    url: String,
    collection: String,
    key: Option<String>,
}

impl There {
    fn new(url: &str, key: Option<&str>) -> Self {
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        let collection = format!("test-{:016x}", u64::from_le_bytes(random));
        Self { url: url.into(), collection, key: key.map(str::to_owned) }
    }
}

impl Place for There {
    fn vectors(&self, machine: &str) -> Box<dyn Vectors> {
        Box::new(Qdrant::new(Settings {
            url: self.url.clone(),
            collection: self.collection.clone(),
            key: self.key.clone(),
            machine: machine.into(),
        }))
    }
}

/// A real server, on loopback, with a key, and nobody told that it runs.
struct Real {
    child: Child,
    url: String,
    _dir: tempfile::TempDir,
}

impl Real {
    /// For a test of it; nothing where there is none to be had.
    fn start(test: &str) -> Option<Self> {
        if !support::can_run(
            "unit",
            &format!("of_a_real_server::{test}"),
            &[Need::Files("OPDBUS_TEST_QDRANT")],
        ) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        // Two that are free now.
        let free: Vec<TcpListener> =
            (0..2).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let ports: Vec<u16> = free.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        drop(free);
        let config = format!(
            "telemetry_disabled: true\nstorage: {{ storage_path: {0}/storage, snapshots_path: {0}/snapshots }}\n\
             service: {{ host: 127.0.0.1, http_port: {1}, grpc_port: {2}, api_key: \"{KEY}\" }}\n",
            dir.path().display(),
            ports[0],
            ports[1],
        );
        let path = dir.path().join("config.yaml");
        std::fs::write(&path, config).unwrap();
        let child = Command::new(PathBuf::from(std::env::var_os("OPDBUS_TEST_QDRANT").unwrap()))
            .arg("--config-path")
            .arg(&path)
            .arg("--disable-telemetry")
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let made = Self { child, url: format!("http://127.0.0.1:{}", ports[1]), _dir: dir };
        let began = Instant::now();
        while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, ports[1])).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "the server did not come up");
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(made)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The tests: each function of a place is one of the index, of the double and of a real server, and each of a server one of
/// the two servers.
macro_rules! tests {
    (places: $($place:ident),+; servers: $($server:ident),+ $(,)?) => {
        mod of_the_index {
            $(#[test] fn $place() { super::$place(&super::Here); })+
        }

        mod of_the_double {
            use super::{Double, KEY, There};

            $(#[test] fn $place() {
                let double = Double::start(Some(KEY));
                super::$place(&There::new(&double.url, Some(KEY)));
            })+
            $(#[test] fn $server() { super::$server(&Double::start(Some(KEY)).url); })+
        }

        mod of_a_real_server {
            use super::{KEY, Real, There};

            $(#[test] fn $place() {
                if let Some(real) = Real::start(stringify!($place)) {
                    super::$place(&There::new(&real.url, Some(KEY)));
                }
            })+
            $(#[test] fn $server() {
                if let Some(real) = Real::start(stringify!($server)) {
                    super::$server(&real.url);
                }
            })+
        }
    };
}

tests! {
    places:
        what_was_given_is_found_nearest_first_through_every_filter,
        cosines_are_those_of_the_entries_that_are_asked_about,
        another_models_vectors_are_never_among_those_that_are_found,
        what_was_given_is_there_for_the_next_process_and_what_was_not_is_given_then,
        hosts_in_one_collection_see_their_own_alone;
    servers:
        a_wrong_key_and_none_are_told_apart_and_never_shown,
        what_is_wrong_is_answered_by_the_right_code,
        a_collection_of_other_vectors_is_refused_and_left_as_it_is,
        a_collection_that_was_lost_is_made_again_and_given_everything
}

fn what_was_given_is_found_nearest_first_through_every_filter(place: &dyn Place) {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = Holder::open(&dir.path().join("index.db"), "ledger", "m", place.vectors("a"));
    holder.take(1..=40);
    assert_eq!(holder.nearest(20, &Through::default(), 5), NONE, "nothing was given yet");
    assert_eq!(holder.settle(vector), 40);
    assert_eq!(holder.store.count().unwrap(), (40, 0));
    let mut near = holder.nearest(20, &Through::default(), 5);
    assert_eq!(near[0], 20);
    near.sort_unstable();
    assert_eq!(near, [18, 19, 20, 21, 22]);
    let all = |holder: &mut Holder, through: &Through| {
        let mut all = holder.nearest(20, through, 100);
        all.sort_unstable();
        all
    };
    let wanted =
        |lets: &dyn Fn(&Entry) -> bool| -> Vec<i64> { (1..=40).filter(|id| lets(&entry(*id))).collect() };
    // A second belongs to what begins with it, and not to what ends there.
    let at = |id: i64| jiff::Timestamp::from_second(entry(id).timestamp).unwrap();
    for (since, until) in [(Some(10), Some(13)), (None, Some(4)), (Some(39), None)] {
        let through =
            Through { range: TimeRange { since: since.map(at), until: until.map(at) }, ..Through::default() };
        let right: Vec<i64> = (since.unwrap_or(1)..until.unwrap_or(41)).collect();
        assert_eq!(all(&mut holder, &through), right);
    }
    for name in CALLERS {
        let through = Through { caller: holder.caller(name), ..Through::default() };
        assert!(through.caller.is_some());
        assert_eq!(all(&mut holder, &through), wanted(&|e| e.metadata["caller"]["user"] == name), "{name}");
    }
    for (number, outcome) in (0..).zip(OUTCOMES) {
        let through = Through { outcome: Some(number), ..Through::default() };
        assert_eq!(all(&mut holder, &through), wanted(&|e| e.metadata["outcome"] == outcome), "{outcome}");
    }
    let through = Through {
        range: TimeRange { since: Some(at(10)), until: Some(at(30)) },
        caller: holder.caller("Jane Doe"),
        outcome: Some(1),
    };
    let right = wanted(&|e| {
        (10..30).contains(&e.id)
            && e.metadata["caller"]["user"] == "Jane Doe"
            && e.metadata["outcome"] == "failed"
    });
    assert!(!right.is_empty());
    assert_eq!(all(&mut holder, &through), right);
    assert_eq!(all(&mut holder, &Through { caller: Some(99), ..Through::default() }), NONE);
}

fn cosines_are_those_of_the_entries_that_are_asked_about(place: &dyn Place) {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = Holder::open(&dir.path().join("index.db"), "ledger", "m", place.vectors("a"));
    holder.take(1..=10);
    // Two that say the same have the same cosine, to the last bit.
    holder.settle(|id| vector(if id == 9 { 3 } else { id }));
    holder.take(11..=12);
    let cosines = holder.vectors.cosines(&holder.store, &vector(3), &[9, 1, 3, 7, 11, 500]).unwrap();
    let mut ids: Vec<i64> = cosines.keys().copied().collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 3, 7, 9], "what has no vector has no cosine");
    assert_eq!(cosines[&3].to_bits(), cosines[&9].to_bits());
    for (id, right) in [(3, near(0)), (1, near(2)), (7, near(4))] {
        assert!((cosines[&id] - right).abs() < 2e-3, "{id}: {} and not {right}", cosines[&id]);
    }
    assert!(holder.vectors.cosines(&holder.store, &vector(3), &[]).unwrap().is_empty());
}

fn another_models_vectors_are_never_among_those_that_are_found(place: &dyn Place) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index.db");
    let mut holder = Holder::open(&path, "ledger", "old", place.vectors("a"));
    holder.take(1..=20);
    holder.settle(vector);
    drop(holder);
    let mut holder = Holder::open(&path, "ledger", "new", place.vectors("a"));
    assert_eq!(holder.store.count().unwrap(), (20, 20));
    assert_eq!(holder.nearest(10, &Through::default(), 50), NONE);
    let some: Vec<(Entry, Vector)> = (1..=3).map(|id| (entry(id), vector(id + 100))).collect();
    holder.vectors.give(&mut holder.store, &some).unwrap();
    let mut found = holder.nearest(101, &Through::default(), 50);
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3]);
    // The first model's again: its vectors are given anew.
    drop(holder);
    let mut holder = Holder::open(&path, "ledger", "old", place.vectors("a"));
    assert_eq!(holder.nearest(10, &Through::default(), 50), NONE);
    assert_eq!(holder.settle(vector), 20);
    assert_eq!(holder.nearest(10, &Through::default(), 1), [10]);
}

fn what_was_given_is_there_for_the_next_process_and_what_was_not_is_given_then(place: &dyn Place) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index.db");
    let mut holder = Holder::open(&path, "ledger", "m", place.vectors("a"));
    holder.take(1..=20);
    holder.ready().unwrap();
    let some: Vec<(Entry, Vector)> = (13..=20).map(|id| (entry(id), vector(id))).collect();
    holder.vectors.give(&mut holder.store, &some).unwrap();
    drop(holder);
    let mut holder = Holder::open(&path, "ledger", "m", place.vectors("a"));
    assert_eq!(holder.nearest(1, &Through::default(), 50).len(), 8);
    assert_eq!(holder.settle(vector), 12);
    // Given twice, as after a death between the place and the index.
    holder.vectors.give(&mut holder.store, &some).unwrap();
    let mut found = holder.nearest(1, &Through::default(), 50);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, (1..=20).collect::<Vec<i64>>());
    // An index that is made anew is given all of them anew, and finds no old one.
    drop(holder);
    std::fs::remove_file(&path).unwrap();
    let mut holder = Holder::open(&path, "ledger", "m", place.vectors("a"));
    holder.take(1..=5);
    assert_eq!(holder.nearest(1, &Through::default(), 50), NONE);
    assert_eq!(holder.settle(vector), 5);
    assert_eq!(holder.nearest(1, &Through::default(), 50).len(), 5);
}

fn hosts_in_one_collection_see_their_own_alone(place: &dyn Place) {
    let dir = tempfile::tempdir().unwrap();
    // The second was installed in the same second as the first; the third is restored from its image.
    let mut hosts: Vec<Holder> = [("ledger", "a"), ("ledger", "b"), ("another", "a")]
        .into_iter()
        .map(|(ledger, machine)| {
            let path = dir.path().join(format!("{ledger}-{machine}.db"));
            Holder::open(&path, ledger, "m", place.vectors(machine))
        })
        .collect();
    for (holder, from) in hosts.iter_mut().zip([1, 11, 21]) {
        holder.take(from..=from + 9);
        // Two are the same for all.
        holder.settle(|id| vector(if id % 10 == 5 { 5 } else { id }));
    }
    for (holder, from) in hosts.iter_mut().zip([1, 11, 21]) {
        let mut found = holder.nearest(5, &Through::default(), 50);
        assert_eq!(found[0] % 10, 5);
        found.sort_unstable();
        assert_eq!(found, (from..=from + 9).collect::<Vec<i64>>());
        let ids: Vec<i64> = (1..=30).collect();
        assert_eq!(holder.vectors.cosines(&holder.store, &vector(5), &ids).unwrap().len(), 10);
    }
    // One of them is made anew, and the others have lost nothing.
    let gone = hosts.remove(0);
    drop(gone);
    std::fs::remove_file(dir.path().join("ledger-a.db")).unwrap();
    let mut anew = Holder::open(&dir.path().join("ledger-a.db"), "ledger", "m", place.vectors("a"));
    anew.take(1..=2);
    anew.settle(vector);
    for (holder, count) in hosts.iter_mut().chain([&mut anew]).zip([10, 10, 2]) {
        assert_eq!(holder.nearest(5, &Through::default(), 50).len(), count);
    }
}

/// What a server's failure is called.
fn why(result: Result<(), SearchError>) -> String {
    match result {
        Err(SearchError::Elsewhere { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

fn a_wrong_key_and_none_are_told_apart_and_never_shown(url: &str) {
    let dir = tempfile::tempdir().unwrap();
    for (at, (key, said)) in [
        (Some("the-wrong-one"), "does not take the API key of ml.qdrant.apiKeyFile"),
        (None, "wants an API key (ml.qdrant.apiKeyFile)"),
        (Some(""), "was not asked: there is no API key in the file of ml.qdrant.apiKeyFile"),
        (Some("two\nlines"), "cannot be sent the API key: it is not one line of printable characters"),
    ]
    .into_iter()
    .enumerate()
    {
        let place = There { key: key.map(str::to_owned), ..There::new(url, None) };
        let path = dir.path().join(at.to_string());
        let mut holder = Holder::open(&path, "ledger", "m", place.vectors("a"));
        assert_eq!(why(holder.ready()), said);
        assert!(!format!("{:?}", holder.vectors).contains("lines"), "{:?}", holder.vectors);
    }
}

/// A client without anything of ours before it.
fn bare(url: &str, key: &str) -> (tokio::runtime::Runtime, qdrant_client::Qdrant) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client =
        qdrant_client::Qdrant::from_url(url).api_key(key).skip_compatibility_check().build().unwrap();
    (runtime, client)
}

/// So that the double fails as the real one does.
fn what_is_wrong_is_answered_by_the_right_code(url: &str) {
    use qdrant_client::QdrantError::ResponseError;
    use qdrant_client::qdrant::{
        CountPointsBuilder, CreateCollectionBuilder, Distance, PayloadIncludeSelector, PointStruct,
        QueryPointsBuilder, UpsertPointsBuilder, VectorParamsBuilder, with_payload_selector,
    };
    use tonic::Code;
    let code = |result: Result<(), qdrant_client::QdrantError>| match result {
        Err(ResponseError { status }) => (status.code(), status.message().to_owned()),
        other => panic!("{other:?}"),
    };
    let name = There::new(url, None).collection;
    let make = || {
        CreateCollectionBuilder::new(&name).vectors_config(VectorParamsBuilder::new(384, Distance::Cosine))
    };
    let (runtime, client) = bare(url, KEY);
    let count = runtime.block_on(client.count(CountPointsBuilder::new(&name))).map(drop);
    assert_eq!(code(count), (Code::NotFound, format!("Not found: Collection `{name}` doesn't exist!")));
    runtime.block_on(client.create_collection(make())).unwrap();
    let twice = code(runtime.block_on(client.create_collection(make())).map(drop));
    assert_eq!(twice, (Code::AlreadyExists, format!("Wrong input: Collection `{name}` already exists!")));
    let short = Code::InvalidArgument;
    let said = "Wrong input: Vector dimension error: expected dim: 384, got 3";
    let payload = PayloadIncludeSelector { fields: vec!["entry".into()] };
    let query = QueryPointsBuilder::new(&name)
        .query(vec![0.5; 3])
        .with_payload(with_payload_selector::SelectorOptions::from(payload));
    assert_eq!(code(runtime.block_on(client.query(query)).map(drop)), (short, said.into()));
    let id = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26";
    let point = |id: &str, numbers| {
        PointStruct::new(id.to_owned(), vec![0.5; numbers], qdrant_client::Payload::new())
    };
    let upsert = |point| UpsertPointsBuilder::new(&name, vec![point]).wait(true);
    let result = runtime.block_on(client.upsert_points(upsert(point(id, 3)))).map(drop);
    assert_eq!(code(result), (short, said.into()));
    let result = runtime.block_on(client.upsert_points(upsert(point("entry 1", 384)))).map(drop);
    assert_eq!(code(result).0, short, "a point is called by a UUID");
    let (runtime, client) = bare(url, "another");
    let count = runtime.block_on(client.count(CountPointsBuilder::new(&name))).map(drop);
    assert_eq!(code(count), (Code::Unauthenticated, "Invalid API key or JWT".into()));
}

fn a_collection_of_other_vectors_is_refused_and_left_as_it_is(url: &str) {
    use qdrant_client::qdrant::{CreateCollectionBuilder, Distance, VectorParamsBuilder};
    let (runtime, client) = bare(url, KEY);
    for (size, distance) in [(3, Distance::Cosine), (384, Distance::Dot)] {
        let place = There::new(url, Some(KEY));
        let make = CreateCollectionBuilder::new(&place.collection)
            .vectors_config(VectorParamsBuilder::new(size, distance));
        runtime.block_on(client.create_collection(make)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut holder = Holder::open(&dir.path().join("index.db"), "ledger", "m", place.vectors("a"));
        let said = why(holder.ready());
        assert!(
            said.contains("for other vectors than ours") && said.contains("ml.qdrant.collection"),
            "{said}"
        );
    }
}

fn a_collection_that_was_lost_is_made_again_and_given_everything(url: &str) {
    let (runtime, client) = bare(url, KEY);
    let place = There::new(url, Some(KEY));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index.db");
    let mut holder = Holder::open(&path, "ledger", "m", place.vectors("a"));
    holder.take(1..=10);
    holder.settle(vector);
    runtime.block_on(client.delete_collection(&place.collection)).unwrap();
    drop(holder);
    let mut holder = Holder::open(&path, "ledger", "m", place.vectors("a"));
    assert_eq!(holder.settle(vector), 10);
    assert_eq!(holder.nearest(3, &Through::default(), 1), [3]);
}

/// What the system trusts is told by the environment, so the client is this test in another process.
#[test]
fn a_server_is_asked_by_tls_if_its_certificate_is_trusted() {
    const URL: &str = "OPDBUS_TEST_TLS_URL";
    let name = "a_server_is_asked_by_tls_if_its_certificate_is_trusted";
    let dir = tempfile::tempdir().unwrap();
    if let Ok(url) = std::env::var(URL) {
        let place = There::new(&url, Some(KEY));
        let mut holder = Holder::open(&dir.path().join("index.db"), "ledger", "m", place.vectors("a"));
        holder.ready().unwrap();
        return;
    }
    if !support::can_run("unit", name, &[Need::Program("openssl")]) {
        return;
    }
    for name in ["ours", "another"] {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let double = Double::start_tls(KEY, &read("ours.pem"), &read("ours.key"));
    let trusting = |certificate: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(URL, &double.url)
            .env("SSL_CERT_FILE", dir.path().join(certificate))
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap()
    };
    let good = trusting("ours.pem");
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stdout));
    let bad = String::from_utf8_lossy(&trusting("another.pem").stdout).into_owned();
    assert!(bad.contains("cannot be reached"), "{bad}");
    assert!(double.kept.lock().unwrap().collections() == 1, "the other one asked nothing");
}

/// The search as it is served, with its vectors on a server that comes and goes.
#[test]
fn without_its_server_the_search_goes_on_by_words_and_what_was_not_given_is_given_when_it_is_back() {
    let name =
        "without_its_server_the_search_goes_on_by_words_and_what_was_not_given_is_given_when_it_is_back";
    if !support::can_run("unit", name, &[Need::Files("OPDBUS_TEST_MODEL")]) {
        return;
    }
    let mut double = Double::start(Some(KEY));
    let host = Served::new(&double.url);
    let mut worker = host.worker();
    host.append("container.create", "zeppelin-07");
    host.append("snapshot.create", "state");
    while worker.work().unwrap() {}
    let found = ask(&mut worker, "who made a new machine called zeppelin-07");
    assert_eq!((found.by, found.notes.as_slice()), (By::Meaning, [].as_slice()));
    assert!(
        found.matches[0].entry.target == "zeppelin-07" && found.matches[0].why.unwrap().meaning.is_some()
    );
    for payload in double.payloads("operation-dbus") {
        let mut fields: Vec<&str> = payload.keys().map(String::as_str).collect();
        fields.sort_unstable();
        let all = ["caller", "entry", "host", "index", "model", "operation", "outcome", "timestamp"];
        assert_eq!(fields, all, "nothing else leaves the host");
    }

    double.stop();
    host.append("container.create", "balloon-01");
    let began = Instant::now();
    let found = ask(&mut worker, "balloon-01");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!((found.by, found.matches[0].entry.target.as_str()), (By::Words, "balloon-01"));
    let note = &found.notes[0];
    assert!(note.starts_with("searched by words alone: Qdrant at http://127.0.0.1:"), "{note}");
    // It is not waited for again, and there is nothing to be busy with.
    let began = Instant::now();
    ask(&mut worker, "balloon-01");
    assert!(!worker.work().unwrap());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let status = worker.answer(Asked::Status).unwrap();
    assert!(status["behind"] == 1 && status["why"].as_str().unwrap().starts_with("Qdrant at"), "{status}");

    // One that takes the question and says nothing.
    double.kept.lock().unwrap().delay = Duration::from_secs(600);
    double.again();
    std::thread::sleep(Duration::from_secs(11));
    let began = Instant::now();
    let found = ask(&mut worker, "zeppelin-07");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!((found.by, found.matches[0].entry.target.as_str()), (By::Words, "zeppelin-07"));
    assert!(found.notes[0].contains("did not answer"), "{:?}", found.notes);

    double.kept.lock().unwrap().delay = Duration::ZERO;
    std::thread::sleep(Duration::from_secs(11));
    while worker.work().unwrap() {}
    let found = ask(&mut worker, "balloon-01");
    assert_eq!((found.by, found.notes.as_slice()), (By::Meaning, [].as_slice()));
    assert!(found.matches[0].entry.target == "balloon-01" && found.matches[0].why.unwrap().meaning.is_some());
    assert_eq!(worker.answer(Asked::Status).unwrap()["behind"], 0);

    // Another setting, and the vectors are here.
    host.specify(&json!({}));
    while worker.work().unwrap() {}
    double.stop();
    assert_eq!(ask(&mut worker, "balloon-01").by, By::Meaning);
}

fn ask(worker: &mut Worker, query: &str) -> Found {
    let search = Search { query: query.into(), limit: 5, since: None, until: None, explain: true };
    serde_json::from_value(worker.answer(Asked::Search(search)).unwrap()).unwrap()
}

/// A host with a ledger, whose search has its vectors on a server.
struct Served {
    dir: tempfile::TempDir,
}

impl Served {
    fn new(url: &str) -> Self {
        let made = Self { dir: tempfile::tempdir().unwrap() };
        for directory in ["etc", "base/@timing", "base/@vectors", "base/@cache"] {
            std::fs::create_dir_all(made.dir.path().join(directory)).unwrap();
        }
        let caller = Caller { uid: Some(0), user: "root".into(), via: Via::Installer };
        Ledger::init(&made.ledger(), &caller, Deployment::Traditional).unwrap();
        std::fs::write(made.dir.path().join("key"), format!("{KEY}\n")).unwrap();
        made.specify(&json!({ "url": url, "apiKeyFile": made.dir.path().join("key") }));
        made
    }

    fn ledger(&self) -> PathBuf {
        self.dir.path().join("base/@timing/blockchain.db")
    }

    fn specify(&self, qdrant: &serde_json::Value) {
        let mut ml = json!({ "enable": true, "model": std::env::var("OPDBUS_TEST_MODEL").unwrap() });
        if qdrant["url"].is_string() {
            ml["qdrant"] = qdrant.clone();
        }
        let base = self.dir.path().join("base");
        let spec = json!({ "version": 1, "btrfs": { "basePath": base }, "ml": ml });
        std::fs::write(self.dir.path().join("etc/config.json"), spec.to_string()).unwrap();
    }

    fn worker(&self) -> Worker {
        let paths = Paths { etc: self.dir.path().join("etc"), ..Paths::default() };
        Worker::new(Host { paths, run: Runner::default() }, None)
    }

    fn append(&self, operation: &str, target: &str) {
        let caller = Caller { uid: Some(1000), user: "alice".into(), via: Via::Dbus };
        let new = NewEntry::call(Call {
            operation,
            target,
            caller: &caller,
            arguments: json!({ "name": target }).as_object().cloned().unwrap(),
            outcome: Outcome::Ok,
            duration: Duration::from_millis(12),
            deployment: Deployment::Traditional,
        });
        Ledger::open(&self.ledger()).unwrap().append(&new).unwrap();
    }
}
