//! A Qdrant server in this process, of the same gRPC services as the real one's: it keeps points, answers what the search
//! asks with filters and cosines, and fails as the real one does. What it cannot do it refuses, so that a request that
//! nothing here understands is not taken for one that worked.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test program is a crate of its own and uses a part of it"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails ends the test")]

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use qdrant_client::qdrant::collections_server::{Collections, CollectionsServer};
use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::points_server::{Points, PointsServer};
use qdrant_client::qdrant::value::Kind;
use qdrant_client::qdrant::{
    self as q, query, vector, vector_input, vectors, vectors_config, with_payload_selector,
};
use tokio::runtime::Runtime;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// What a server has, which outlives it as the real one's files do.
#[derive(Debug, Default)]
pub struct Kept {
    collections: BTreeMap<String, Collection>,
    /// How long each answer takes.
    pub delay: Duration,
}

#[derive(Debug, Default)]
struct Collection {
    params: q::VectorParams,
    indexes: HashMap<String, q::PayloadSchemaInfo>,
    points: BTreeMap<String, (Vec<f32>, HashMap<String, q::Value>)>,
}

impl Kept {
    /// How many collections there are.
    pub fn collections(&self) -> usize {
        self.collections.len()
    }
}

/// A server that runs until it is dropped.
pub struct Double {
    pub url: String,
    pub kept: Arc<Mutex<Kept>>,
    address: SocketAddr,
    key: Option<String>,
    runtime: Option<Runtime>,
}

impl Double {
    pub fn start(key: Option<&str>) -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::serve(nowhere, key.map(str::to_owned), Arc::default(), None)
    }

    /// By TLS, with a certificate for `localhost` and its key, as PEM.
    pub fn start_tls(key: &str, certificate: &str, private: &str) -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let identity = Identity::from_pem(certificate, private);
        let mut made = Self::serve(nowhere, Some(key.into()), Arc::default(), Some(identity));
        made.url = format!("https://localhost:{}", made.address.port());
        made
    }

    fn serve(
        address: SocketAddr,
        key: Option<String>,
        kept: Arc<Mutex<Kept>>,
        identity: Option<Identity>,
    ) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let incoming = runtime.block_on(async { TcpIncoming::bind(address) }).unwrap();
        let address = incoming.local_addr().unwrap();
        let (wanted, shared) = (key.clone(), Service(Arc::clone(&kept)));
        #[allow(clippy::result_large_err, reason = "what an interceptor gives")]
        let check = move |request: Request<()>| match &wanted {
            None => Ok(request),
            Some(wanted) => match request.metadata().get("api-key") {
                Some(key) if key.as_bytes() == wanted.as_bytes() => Ok(request),
                None => {
                    Err(Status::unauthenticated("Must provide an API key or an Authorization bearer token"))
                }
                Some(_) => Err(Status::unauthenticated("Invalid API key or JWT")),
            },
        };
        let mut server = Server::builder();
        if let Some(identity) = identity {
            server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        }
        let server = server
            .add_service(CollectionsServer::with_interceptor(shared.clone(), check.clone()))
            .add_service(PointsServer::with_interceptor(shared, check));
        runtime.spawn(server.serve_with_incoming(incoming));
        Self { url: format!("http://{address}"), kept, address, key, runtime: Some(runtime) }
    }

    /// Ends it at once, with its connections.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    /// Has it be there again, with what it had.
    pub fn again(&mut self) {
        self.stop();
        *self = Self::serve(self.address, self.key.clone(), Arc::clone(&self.kept), None);
    }

    /// The payloads of all points of a collection.
    pub fn payloads(&self, collection: &str) -> Vec<HashMap<String, q::Value>> {
        let kept = self.kept.lock().unwrap();
        kept.collections[collection].points.values().map(|(_, payload)| payload.clone()).collect()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Clone)]
struct Service(Arc<Mutex<Kept>>);

type Answer<T> = Result<Response<T>, Status>;

fn unknown(name: &str) -> Status {
    Status::not_found(format!("Not found: Collection `{name}` doesn't exist!"))
}

fn beyond(what: &str) -> Status {
    Status::unimplemented(format!("the double does not know {what}"))
}

impl Service {
    /// Does something with a collection, after the time that it takes.
    async fn with<T>(
        &self,
        name: &str,
        f: impl FnOnce(&mut Collection) -> Result<T, Status>,
    ) -> Result<T, Status> {
        self.wait().await;
        let mut kept = self.0.lock().unwrap();
        f(kept.collections.get_mut(name).ok_or_else(|| unknown(name))?)
    }

    async fn wait(&self) {
        let delay = self.0.lock().unwrap().delay;
        tokio::time::sleep(delay).await;
    }
}

fn text(value: Option<&q::Value>) -> Option<&str> {
    match value?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

fn number(value: Option<&q::Value>) -> Option<i64> {
    match value?.kind.as_ref()? {
        Kind::IntegerValue(number) => Some(*number),
        _ => None,
    }
}

fn name(id: Option<&q::PointId>) -> Result<String, Status> {
    match id.and_then(|id| id.point_id_options.clone()) {
        Some(PointIdOptions::Uuid(text)) if text.len() == 36 => Ok(text),
        Some(PointIdOptions::Uuid(text)) => {
            Err(Status::invalid_argument(format!("Unable to parse UUID: {text}")))
        }
        _ => Err(beyond("points without a UUID")),
    }
}

fn holds(condition: &q::Condition, id: &str, payload: &HashMap<String, q::Value>) -> Result<bool, Status> {
    match condition.condition_one_of.as_ref().ok_or_else(|| beyond("an empty condition"))? {
        ConditionOneOf::HasId(ids) => {
            let ids: Result<Vec<String>, Status> = ids.has_id.iter().map(|id| name(Some(id))).collect();
            Ok(ids?.iter().any(|one| one == id))
        }
        ConditionOneOf::Field(field) => {
            let value = payload.get(&field.key);
            let matches = match field.r#match.as_ref().and_then(|found| found.match_value.as_ref()) {
                None => true,
                Some(MatchValue::Keyword(word)) => text(value) == Some(word),
                Some(MatchValue::Keywords(words)) => {
                    text(value).is_some_and(|found| words.strings.iter().any(|word| word == found))
                }
                Some(_) => return Err(beyond("another match than by keywords")),
            };
            let within = match &field.range {
                None => true,
                #[allow(clippy::cast_precision_loss, reason = "as the real one has it")]
                Some(range) => number(value).is_some_and(|found| {
                    let found = found as f64;
                    range.gte.is_none_or(|gte| found >= gte)
                        && range.gt.is_none_or(|gt| found > gt)
                        && range.lt.is_none_or(|lt| found < lt)
                        && range.lte.is_none_or(|lte| found <= lte)
                }),
            };
            Ok(matches && within)
        }
        _ => Err(beyond("such a condition")),
    }
}

fn lets(filter: Option<&q::Filter>, id: &str, payload: &HashMap<String, q::Value>) -> Result<bool, Status> {
    let Some(filter) = filter else { return Ok(true) };
    if !filter.should.is_empty() || filter.min_should.is_some() {
        return Err(beyond("should"));
    }
    for condition in &filter.must {
        if !holds(condition, id, payload)? {
            return Ok(false);
        }
    }
    for condition in &filter.must_not {
        if holds(condition, id, payload)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn sized(numbers: &[f32], params: &q::VectorParams) -> Result<(), Status> {
    if numbers.len() as u64 == params.size {
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "Wrong input: Vector dimension error: expected dim: {}, got {}",
        params.size,
        numbers.len()
    )))
}

/// Of length one, as the real one keeps what is compared by its cosine.
fn unit(numbers: &[f32]) -> Vec<f32> {
    let length = numbers.iter().map(|n| n * n).sum::<f32>().sqrt();
    numbers.iter().map(|n| if length > 0.0 { n / length } else { *n }).collect()
}

fn dense(vectors: Option<q::Vectors>) -> Result<Vec<f32>, Status> {
    match vectors.and_then(|vectors| vectors.vectors_options) {
        Some(vectors::VectorsOptions::Vector(one)) => match one.vector {
            Some(vector::Vector::Dense(dense)) => Ok(dense.data),
            _ => Err(beyond("such a vector")),
        },
        _ => Err(beyond("named vectors")),
    }
}

fn asked_for(query: Option<q::Query>) -> Result<Vec<f32>, Status> {
    match query.and_then(|query| query.variant) {
        Some(query::Variant::Nearest(q::VectorInput {
            variant: Some(vector_input::Variant::Dense(dense)),
        })) => Ok(dense.data),
        _ => Err(beyond("such a query")),
    }
}

fn done() -> Response<q::PointsOperationResponse> {
    let result = q::UpdateResult { operation_id: Some(0), status: q::UpdateStatus::Completed.into() };
    Response::new(q::PointsOperationResponse {
        result: Some(result),
        ..q::PointsOperationResponse::default()
    })
}

/// What the search does not ask: each is answered as something that is not there. Written as `async_trait` would, which does
/// not see into a macro.
macro_rules! not_known {
    ($($name:ident: $from:ident => $to:ident),+ $(,)?) => {
        $(
            fn $name<'a, 'async_trait>(
                &'a self,
                _: Request<q::$from>,
            ) -> Pin<Box<dyn Future<Output = Answer<q::$to>> + Send + 'async_trait>>
            where
                'a: 'async_trait,
                Self: 'async_trait,
            {
                Box::pin(async { Err(beyond(stringify!($name))) })
            }
        )+
    };
}

#[tonic::async_trait]
impl Collections for Service {
    async fn collection_exists(
        &self,
        request: Request<q::CollectionExistsRequest>,
    ) -> Answer<q::CollectionExistsResponse> {
        self.wait().await;
        let name = request.into_inner().collection_name;
        let exists = self.0.lock().unwrap().collections.contains_key(&name);
        let result = Some(q::CollectionExists { exists });
        Ok(Response::new(q::CollectionExistsResponse { result, ..q::CollectionExistsResponse::default() }))
    }

    async fn create(&self, request: Request<q::CreateCollection>) -> Answer<q::CollectionOperationResponse> {
        self.wait().await;
        let asked = request.into_inner();
        let Some(vectors_config::Config::Params(params)) =
            asked.vectors_config.and_then(|config| config.config)
        else {
            return Err(beyond("named vectors"));
        };
        let mut kept = self.0.lock().unwrap();
        if kept.collections.contains_key(&asked.collection_name) {
            let name = asked.collection_name;
            return Err(Status::already_exists(format!("Wrong input: Collection `{name}` already exists!")));
        }
        kept.collections.insert(asked.collection_name, Collection { params, ..Collection::default() });
        let made =
            q::CollectionOperationResponse { result: true, ..q::CollectionOperationResponse::default() };
        Ok(Response::new(made))
    }

    async fn get(
        &self,
        request: Request<q::GetCollectionInfoRequest>,
    ) -> Answer<q::GetCollectionInfoResponse> {
        let info = self
            .with(&request.into_inner().collection_name, |collection| {
                let vectors_config = Some(q::VectorsConfig {
                    config: Some(vectors_config::Config::Params(collection.params)),
                });
                let params = Some(q::CollectionParams { vectors_config, ..q::CollectionParams::default() });
                Ok(q::CollectionInfo {
                    config: Some(q::CollectionConfig { params, ..q::CollectionConfig::default() }),
                    payload_schema: collection.indexes.clone(),
                    points_count: Some(collection.points.len() as u64),
                    ..q::CollectionInfo::default()
                })
            })
            .await?;
        let result = Some(info);
        Ok(Response::new(q::GetCollectionInfoResponse { result, ..q::GetCollectionInfoResponse::default() }))
    }

    async fn delete(&self, request: Request<q::DeleteCollection>) -> Answer<q::CollectionOperationResponse> {
        self.wait().await;
        let name = request.into_inner().collection_name;
        let result = self.0.lock().unwrap().collections.remove(&name).is_some();
        Ok(Response::new(q::CollectionOperationResponse {
            result,
            ..q::CollectionOperationResponse::default()
        }))
    }

    not_known! {
        list: ListCollectionsRequest => ListCollectionsResponse,
        update: UpdateCollection => CollectionOperationResponse,
        update_aliases: ChangeAliases => CollectionOperationResponse,
        list_collection_aliases: ListCollectionAliasesRequest => ListAliasesResponse,
        list_aliases: ListAliasesRequest => ListAliasesResponse,
        collection_cluster_info: CollectionClusterInfoRequest => CollectionClusterInfoResponse,
        update_collection_cluster_setup: UpdateCollectionClusterSetupRequest => UpdateCollectionClusterSetupResponse,
        create_shard_key: CreateShardKeyRequest => CreateShardKeyResponse,
        delete_shard_key: DeleteShardKeyRequest => DeleteShardKeyResponse,
        list_shard_keys: ListShardKeysRequest => ListShardKeysResponse,
    }
}

#[tonic::async_trait]
impl Points for Service {
    async fn upsert(&self, request: Request<q::UpsertPoints>) -> Answer<q::PointsOperationResponse> {
        let asked = request.into_inner();
        self.with(&asked.collection_name, |collection| {
            let mut new = Vec::new();
            for point in asked.points {
                let numbers = dense(point.vectors)?;
                sized(&numbers, &collection.params)?;
                new.push((name(point.id.as_ref())?, (unit(&numbers), point.payload)));
            }
            // All or none.
            collection.points.extend(new);
            Ok(done())
        })
        .await
    }

    async fn delete(&self, request: Request<q::DeletePoints>) -> Answer<q::PointsOperationResponse> {
        let asked = request.into_inner();
        let Some(PointsSelectorOneOf::Filter(filter)) =
            asked.points.and_then(|points| points.points_selector_one_of)
        else {
            return Err(beyond("deletion but by a filter"));
        };
        self.with(&asked.collection_name, |collection| {
            let mut gone = Vec::new();
            for (id, (_, payload)) in &collection.points {
                if lets(Some(&filter), id, payload)? {
                    gone.push(id.clone());
                }
            }
            collection.points.retain(|id, _| !gone.contains(id));
            Ok(done())
        })
        .await
    }

    async fn create_field_index(
        &self,
        request: Request<q::CreateFieldIndexCollection>,
    ) -> Answer<q::PointsOperationResponse> {
        let asked = request.into_inner();
        self.with(&asked.collection_name, |collection| {
            collection.indexes.insert(asked.field_name, q::PayloadSchemaInfo::default());
            Ok(done())
        })
        .await
    }

    async fn count(&self, request: Request<q::CountPoints>) -> Answer<q::CountResponse> {
        let asked = request.into_inner();
        let count = self
            .with(&asked.collection_name, |collection| {
                let mut count = 0;
                for (id, (_, payload)) in &collection.points {
                    count += u64::from(lets(asked.filter.as_ref(), id, payload)?);
                }
                Ok(count)
            })
            .await?;
        let result = Some(q::CountResult { count });
        Ok(Response::new(q::CountResponse { result, ..q::CountResponse::default() }))
    }

    async fn query(&self, request: Request<q::QueryPoints>) -> Answer<q::QueryResponse> {
        let asked = request.into_inner();
        let limit = usize::try_from(asked.limit.unwrap_or(10)).unwrap_or(usize::MAX);
        let fields = match asked.with_payload.and_then(|with| with.selector_options) {
            Some(with_payload_selector::SelectorOptions::Include(include)) => include.fields,
            _ => return Err(beyond("such a choice of payload")),
        };
        let to = asked_for(asked.query)?;
        let result = self
            .with(&asked.collection_name, |collection| {
                sized(&to, &collection.params)?;
                let to = unit(&to);
                let mut found = Vec::new();
                for (id, (numbers, payload)) in &collection.points {
                    if lets(asked.filter.as_ref(), id, payload)? {
                        let payload = payload.iter().filter(|(field, _)| fields.contains(field));
                        found.push(q::ScoredPoint {
                            id: Some(id.clone().into()),
                            payload: payload.map(|(field, value)| (field.clone(), value.clone())).collect(),
                            score: numbers.iter().zip(&to).map(|(a, b)| a * b).sum(),
                            ..q::ScoredPoint::default()
                        });
                    }
                }
                found.sort_by(|a, b| b.score.total_cmp(&a.score));
                found.truncate(limit);
                Ok(found)
            })
            .await?;
        Ok(Response::new(q::QueryResponse { result, ..q::QueryResponse::default() }))
    }

    not_known! {
        get: GetPoints => GetResponse,
        update_vectors: UpdatePointVectors => PointsOperationResponse,
        delete_vectors: DeletePointVectors => PointsOperationResponse,
        set_payload: SetPayloadPoints => PointsOperationResponse,
        overwrite_payload: SetPayloadPoints => PointsOperationResponse,
        delete_payload: DeletePayloadPoints => PointsOperationResponse,
        clear_payload: ClearPayloadPoints => PointsOperationResponse,
        delete_field_index: DeleteFieldIndexCollection => PointsOperationResponse,
        create_vector_name: CreateVectorNameRequest => PointsOperationResponse,
        delete_vector_name: DeleteVectorNameRequest => PointsOperationResponse,
        search: SearchPoints => SearchResponse,
        search_batch: SearchBatchPoints => SearchBatchResponse,
        search_groups: SearchPointGroups => SearchGroupsResponse,
        scroll: ScrollPoints => ScrollResponse,
        recommend: RecommendPoints => RecommendResponse,
        recommend_batch: RecommendBatchPoints => RecommendBatchResponse,
        recommend_groups: RecommendPointGroups => RecommendGroupsResponse,
        discover: DiscoverPoints => DiscoverResponse,
        discover_batch: DiscoverBatchPoints => DiscoverBatchResponse,
        update_batch: UpdateBatchPoints => UpdateBatchResponse,
        query_batch: QueryBatchPoints => QueryBatchResponse,
        query_groups: QueryPointGroups => QueryGroupsResponse,
        facet: FacetCounts => FacetResponse,
        search_matrix_pairs: SearchMatrixPoints => SearchMatrixPairsResponse,
        search_matrix_offsets: SearchMatrixPoints => SearchMatrixOffsetsResponse,
    }
}
