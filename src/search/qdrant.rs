//! Vectors on a Qdrant server, in one collection for many hosts, by the client of its authors.
//!
//! A point is one entry's vector. It is called by the host and the entry's number, so that giving it again changes nothing,
//! and says whose it is: of which host, and of which index of it. An index looks among its own alone. One that was made anew,
//! or is to have the vectors of another model, has another token, and what a host gave under an earlier one is deleted.
//!
//! Nobody waits long for the server: what it was asked has a time limit, and once it did not answer it is left alone for a
//! while. What it could not be given is given when it is back.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::{Duration, Instant};

use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder, Datatype,
    DeletePointsBuilder, Distance, FieldType, Filter, HnswConfigDiffBuilder, KeywordIndexParamsBuilder,
    PointId, PointStruct, QueryPoints, QueryPointsBuilder, Range, SearchParamsBuilder, UpsertPointsBuilder,
    Value, VectorParams, VectorParamsBuilder, vectors_config,
};
use qdrant_client::{Payload, Qdrant as Client, QdrantError};
use sha2::{Digest, Sha256};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use super::embed::Vector;
use super::error::SearchError;
use super::model::{self, DIMENSIONS};
use super::store::{OUTCOMES, Store, Through};
use super::vectors::Vectors;
use crate::ledger::Entry;

/// How long a question waits for an answer, the connection included.
const ASKING: Duration = Duration::from_secs(2);

/// How long it may take to be ready, and to take some vectors. Questions wait meanwhile.
const GIVING: Duration = Duration::from_secs(5);

/// How long it is left alone once it did not answer.
const AGAIN: Duration = Duration::from_secs(10);

/// The fields of a point by which it is looked for.
const KEYWORDS: [&str; 5] = [HOST, INDEX, "operation", "caller", "outcome"];
const HOST: &str = "host";
const INDEX: &str = "index";
const ENTRY: &str = "entry";
const TIMESTAMP: &str = "timestamp";

/// A server and a collection, and who asks.
#[derive(Clone)]
pub struct Settings {
    /// Where it answers.
    pub url: String,
    /// The collection.
    pub collection: String,
    /// The API key; an empty one is one that could not be read.
    pub key: Option<String>,
    /// The machine's own id. It is not sent: a sum of it, and of the ledger's first entry, is what the host is called there.
    pub machine: String,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("url", &self.url)
            .field("collection", &self.collection)
            .finish_non_exhaustive()
    }
}

/// The vectors of one host, on a Qdrant server.
pub struct Qdrant {
    settings: Settings,
    connection: Option<(Runtime, Client)>,
    /// Whose the vectors are, once the server is known to be ready for them.
    whose: Option<Whose>,
    failed: Option<(Instant, String)>,
}

impl std::fmt::Debug for Qdrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Qdrant")
            .field("settings", &self.settings)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl Drop for Qdrant {
    fn drop(&mut self) {
        if let Some((runtime, client)) = self.connection.take() {
            drop(client);
            // A name that is still being looked up is not waited for.
            runtime.shutdown_background();
        }
    }
}

#[derive(Debug, Clone)]
struct Whose {
    host: String,
    index: String,
}

impl Whose {
    fn of(store: &mut Store, machine: &str) -> Result<Self, SearchError> {
        // Either alone may be another host's as well: a clone's, or that of one installed in the same second.
        let mut sum = Sha256::new();
        sum.update("opdbus-vectors-v1\n");
        sum.update(machine.trim());
        sum.update("\n");
        sum.update(store.ledger()?);
        let host = crate::hex::hex(&sum.finalize()[..16]);
        Ok(Self { host, index: store.token()? })
    }

    fn point(&self, entry: i64) -> PointId {
        let name = format!("urn:opdbus:{}:{entry}", self.host);
        Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string().into()
    }

    fn of_host(&self) -> Condition {
        is(HOST, &self.host)
    }

    fn of_index(&self) -> Condition {
        is(INDEX, &self.index)
    }
}

/// That a field has this value. A string alone would be taken for words where it has a space.
fn is(field: &str, value: &str) -> Condition {
    Condition::matches(field, vec![value.to_owned()])
}

/// Why something did not work.
enum Trouble {
    Client(Box<QdrantError>),
    Other(String),
}

impl From<QdrantError> for Trouble {
    fn from(error: QdrantError) -> Self {
        Self::Client(Box::new(error))
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Other(format!("could not be asked: {error}"))
    }
}

fn code(error: &QdrantError) -> Option<i32> {
    match error {
        QdrantError::ResponseError { status } | QdrantError::ResourceExhaustedError { status, .. } => {
            Some(status.code().into())
        }
        _ => None,
    }
}

/// The codes of gRPC that are told apart.
mod codes {
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const ALREADY_EXISTS: i32 = 6;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const INTERNAL: i32 = 13;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// What the server did, as it goes on behind "Qdrant at …".
fn said(trouble: &Trouble, key: bool) -> String {
    let error = match trouble {
        Trouble::Other(why) => return why.clone(),
        Trouble::Client(error) => error,
    };
    let message = match &**error {
        QdrantError::ResponseError { status } | QdrantError::ResourceExhaustedError { status, .. } => {
            status.message().to_owned()
        }
        other => other.to_string(),
    };
    match code(error) {
        Some(codes::UNAVAILABLE | codes::DEADLINE_EXCEEDED) => format!("did not answer: {message}"),
        // The client's own word for it, with all that it knows.
        Some(codes::INTERNAL) if message.starts_with("Failed to connect") => "cannot be reached".into(),
        Some(codes::UNAUTHENTICATED) if key => "does not take the API key of ml.qdrant.apiKeyFile".into(),
        Some(codes::UNAUTHENTICATED) => "wants an API key (ml.qdrant.apiKeyFile)".into(),
        Some(codes::PERMISSION_DENIED) => format!("does not allow it: {message}"),
        _ => format!("refused: {message}"),
    }
}

impl Qdrant {
    /// The server is asked when it is first needed.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, connection: None, whose: None, failed: None }
    }

    fn connect(settings: &Settings) -> Result<(Runtime, Client), Trouble> {
        if settings.key.as_deref() == Some("") {
            return Err(Trouble::Other(
                "was not asked: there is no API key in the file of ml.qdrant.apiKeyFile".into(),
            ));
        }
        // The client's own message would show a key that cannot be sent.
        if settings.key.as_deref().is_some_and(|key| !key.chars().all(|c| c.is_ascii_graphic())) {
            return Err(Trouble::Other(
                "cannot be sent the API key: it is not one line of printable characters".into(),
            ));
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut config = Client::from_url(&settings.url)
            .api_key(settings.key.clone())
            // Those of whoever asks are shorter.
            .connect_timeout(GIVING * 2)
            .timeout(GIVING * 2)
            // It would print to the standard output.
            .skip_compatibility_check();
        config.set_pool_size(1);
        Ok((runtime, config.build()?))
    }

    /// Asks the server something, unless it did not answer a moment ago.
    fn ask<T>(
        &mut self,
        limit: Duration,
        what: impl AsyncFnOnce(&Client) -> Result<T, Trouble>,
    ) -> Result<T, SearchError> {
        let elsewhere = |why: String| SearchError::Elsewhere { url: self.settings.url.clone(), why };
        if let Some((when, why)) = &self.failed
            && when.elapsed() < AGAIN
        {
            return Err(elsewhere(why.clone()));
        }
        let asked = || {
            if self.connection.is_none() {
                self.connection = Some(Self::connect(&self.settings)?);
            }
            let Some((runtime, client)) = &self.connection else {
                return Err(Trouble::Other("could not be asked".into()));
            };
            runtime.block_on(async {
                tokio::time::timeout(limit, what(client)).await.unwrap_or_else(|_| {
                    Err(Trouble::Other(format!("did not answer within {} seconds", limit.as_secs())))
                })
            })
        };
        match asked() {
            Ok(answer) => {
                self.failed = None;
                Ok(answer)
            }
            Err(trouble) => {
                let why = said(&trouble, self.settings.key.is_some());
                if let Trouble::Client(error) = &trouble {
                    tracing::warn!("Qdrant at {} {why} ({error})", self.settings.url);
                } else {
                    tracing::warn!("Qdrant at {} {why}", self.settings.url);
                }
                // Whatever it is by then, it is looked at anew.
                self.whose = None;
                self.failed = Some((Instant::now(), why.clone()));
                Err(SearchError::Elsewhere { url: self.settings.url.clone(), why })
            }
        }
    }

    fn whose(&self) -> Result<Whose, SearchError> {
        self.whose.clone().ok_or_else(|| SearchError::Elsewhere {
            url: self.settings.url.clone(),
            why: "was not asked yet".into(),
        })
    }

    /// Asks for points, and gives the entries that they are of, with their cosines.
    fn query(&mut self, query: QueryPoints) -> Result<Vec<(i64, f64)>, SearchError> {
        let found = self.ask(ASKING, async |client| Ok(client.query(query).await?))?;
        let entry = |payload: &HashMap<String, Value>| payload.get(ENTRY).and_then(Value::as_integer);
        Ok(found
            .result
            .iter()
            .filter_map(|point| Some((entry(&point.payload)?, f64::from(point.score))))
            .collect())
    }
}

/// Has the collection be there with what is looked for in it.
async fn prepare(client: &Client, collection: &str) -> Result<(), Trouble> {
    if !client.collection_exists(collection).await? {
        // Each host has a graph of its own, as Qdrant's authors advise where nobody looks among those of all.
        let graphs = HnswConfigDiffBuilder::default().m(0).payload_m(16);
        let numbers =
            VectorParamsBuilder::new(DIMENSIONS as u64, Distance::Cosine).datatype(Datatype::Float16);
        let make = CreateCollectionBuilder::new(collection).vectors_config(numbers).hnsw_config(graphs);
        match client.create_collection(make).await {
            // By another host, just now.
            Err(error) if code(&error) == Some(codes::ALREADY_EXISTS) => {}
            answer => drop(answer?),
        }
    }
    let info = client.collection_info(collection).await?.result.unwrap_or_default();
    let vectors = info.config.and_then(|config| config.params?.vectors_config?.config);
    match vectors {
        Some(vectors_config::Config::Params(VectorParams { size, distance, .. }))
            if size == DIMENSIONS as u64 && distance == i32::from(Distance::Cosine) => {}
        _ => {
            return Err(Trouble::Other(format!(
                "has a collection {collection} for other vectors than ours, which have {DIMENSIONS} numbers and are compared by \
                 their cosine: name another one (ml.qdrant.collection)"
            )));
        }
    }
    for field in
        KEYWORDS.into_iter().chain([TIMESTAMP]).filter(|field| !info.payload_schema.contains_key(*field))
    {
        let kind = if field == TIMESTAMP { FieldType::Integer } else { FieldType::Keyword };
        let mut make = CreateFieldIndexCollectionBuilder::new(collection, field, kind).wait(true);
        if field == HOST {
            make = make.field_index_params(KeywordIndexParamsBuilder::default().is_tenant(true));
        }
        client.create_field_index(make).await?;
    }
    Ok(())
}

async fn count(client: &Client, collection: &str, filter: Filter) -> Result<u64, Trouble> {
    let count = CountPointsBuilder::new(collection).filter(filter).exact(true);
    Ok(client.count(count).await?.result.map_or(0, |result| result.count))
}

impl Vectors for Qdrant {
    fn place(&self) -> String {
        let Settings { url, collection, .. } = &self.settings;
        format!("{} {url} {collection}", model::FILES[0].sha256)
    }

    fn ready(&mut self, store: &mut Store) -> Result<(), SearchError> {
        if self.whose.is_some() {
            return Ok(());
        }
        let whose = Whose::of(store, &self.settings.machine)?;
        let collection = self.settings.collection.clone();
        let there = self.ask(GIVING, async |client| {
            prepare(client, &collection).await?;
            let ours = count(client, &collection, Filter::must([whose.of_host(), whose.of_index()])).await?;
            if count(client, &collection, Filter::must([whose.of_host()])).await? > ours {
                let earlier = Filter { must_not: vec![whose.of_index()], ..Filter::must([whose.of_host()]) };
                client
                    .delete_points(DeletePointsBuilder::new(&collection).points(earlier).wait(true))
                    .await?;
            }
            Ok(ours)
        })?;
        let (entries, without) = store.count()?;
        if there < entries.saturating_sub(without) {
            tracing::warn!("Qdrant at {} has lost vectors: all are given to it anew", self.settings.url);
            store.none_given()?;
        }
        self.whose = Some(whose);
        Ok(())
    }

    fn give(&mut self, store: &mut Store, vectors: &[(Entry, Vector)]) -> Result<(), SearchError> {
        if vectors.is_empty() {
            return Ok(());
        }
        let whose = self.whose()?;
        let points: Vec<PointStruct> = vectors
            .iter()
            .map(|(entry, vector)| {
                let caller = entry.metadata["caller"]["user"].as_str().unwrap_or("");
                let outcome = entry.metadata["outcome"].as_str().filter(|outcome| OUTCOMES.contains(outcome));
                let payload: [(&str, Value); 8] = [
                    (HOST, whose.host.clone().into()),
                    (INDEX, whose.index.clone().into()),
                    ("model", model::FILES[0].sha256.into()),
                    (ENTRY, entry.id.into()),
                    (TIMESTAMP, entry.timestamp.into()),
                    ("operation", entry.operation.clone().into()),
                    ("caller", caller.into()),
                    ("outcome", outcome.unwrap_or(OUTCOMES[0]).into()),
                ];
                PointStruct::new(whose.point(entry.id), vector.to_vec(), Payload::from(payload))
            })
            .collect();
        let upsert = UpsertPointsBuilder::new(&self.settings.collection, points).wait(true);
        self.ask(GIVING, async |client| Ok(client.upsert_points(upsert).await?))?;
        store.given(vectors.iter().map(|(entry, _)| entry.id))
    }

    fn nearest(
        &mut self,
        store: &Store,
        to: &Vector,
        through: &Through,
        limit: u32,
    ) -> Result<Vec<i64>, SearchError> {
        let whose = self.whose()?;
        let mut wanted = vec![whose.of_host(), whose.of_index()];
        let (since, until) = through.range.seconds();
        if since.is_some() || until.is_some() {
            #[allow(clippy::cast_precision_loss, reason = "exact for a few hundred million years")]
            let [gte, lt] = [since, until].map(|second| second.map(|second| second as f64));
            wanted.push(Condition::range(TIMESTAMP, Range { gte, lt, ..Range::default() }));
        }
        if let Some(caller) = through.caller {
            match store.callers()?.into_iter().find(|(number, _)| *number == caller) {
                Some((_, name)) => wanted.push(is("caller", &name)),
                None => return Ok(Vec::new()),
            }
        }
        if let Some(outcome) = through.outcome {
            match OUTCOMES.get(usize::from(outcome)) {
                Some(outcome) => wanted.push(is("outcome", outcome)),
                None => return Ok(Vec::new()),
            }
        }
        let query = QueryPointsBuilder::new(&self.settings.collection)
            .query(to.to_vec())
            .filter(Filter::must(wanted))
            .limit(limit.max(1).into())
            .with_payload(only_entry());
        Ok(self.query(query.build())?.into_iter().map(|(id, _)| id).collect())
    }

    fn cosines(&mut self, _: &Store, to: &Vector, ids: &[i64]) -> Result<HashMap<i64, f64>, SearchError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let whose = self.whose()?;
        let points = Condition::has_id(ids.iter().map(|id| whose.point(*id)));
        let query = QueryPointsBuilder::new(&self.settings.collection)
            .query(to.to_vec())
            .filter(Filter::must([whose.of_host(), whose.of_index(), points]))
            .params(SearchParamsBuilder::default().exact(true))
            .limit(ids.len() as u64)
            .with_payload(only_entry());
        let asked: BTreeSet<i64> = ids.iter().copied().collect();
        let found = self.query(query.build())?;
        Ok(found.into_iter().filter(|(id, _)| asked.contains(id)).collect())
    }

    fn again(&self) -> Option<Duration> {
        self.failed.as_ref().map(|_| AGAIN)
    }
}

fn only_entry() -> qdrant_client::qdrant::with_payload_selector::SelectorOptions {
    qdrant_client::qdrant::PayloadIncludeSelector { fields: vec![ENTRY.into()] }.into()
}
