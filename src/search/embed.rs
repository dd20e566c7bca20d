//! Sentences as vectors: all-MiniLM-L6-v2, its tokens' last hidden states averaged and brought to length one, as
//! the sentence-transformers library does.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config, HiddenAct};
use tokenizers::{PaddingParams, Tokenizer, TruncationParams};

use super::error::SearchError;
use super::model::{self, DIMENSIONS};
use crate::spec::ExecutionProvider;

/// A sentence as a point of the unit sphere: the scalar product of two is their cosine.
pub type Vector = [f32; DIMENSIONS];

/// Tokens of a sentence that are looked at, as the model's authors have it; what goes beyond is cut off.
const LONGEST: usize = 256;

/// Sentences that a GPU takes at once. A processor is no faster with more than one.
const BATCH: usize = 32;

/// The model, loaded: about 90 MB of memory.
pub struct Embedder {
    model: BertModel,
    tokenizer: Tokenizer,
    device: Device,
}

impl std::fmt::Debug for Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedder").field("device", &self.device).finish_non_exhaustive()
    }
}

fn config() -> Config {
    Config {
        vocab_size: 30_522,
        hidden_size: DIMENSIONS,
        num_hidden_layers: 6,
        num_attention_heads: 12,
        intermediate_size: 1536,
        hidden_act: HiddenAct::Gelu,
        max_position_embeddings: 512,
        ..Config::default()
    }
}

fn failed(what: &'static str) -> impl Fn(candle_core::Error) -> SearchError {
    move |error| SearchError::Model { what, why: error.to_string() }
}

#[allow(clippy::needless_pass_by_value, reason = "what map_err gives")]
fn tokens_failed(error: tokenizers::Error) -> SearchError {
    SearchError::Model { what: "read as tokens", why: error.to_string() }
}

/// The device of a provider. One that is not there is an error: nobody who asked for a GPU is served slowly instead.
fn device(provider: ExecutionProvider) -> Result<Device, SearchError> {
    match provider {
        ExecutionProvider::Cpu => Ok(Device::Cpu),
        ExecutionProvider::Cuda if !cfg!(feature = "cuda") => Err(SearchError::NoProvider {
            why: "this program was built without it (cargo build --features cuda)".into(),
        }),
        ExecutionProvider::Cuda => {
            Device::new_cuda(0).map_err(|e| SearchError::NoProvider { why: e.to_string() })
        }
    }
}

impl Embedder {
    /// Loads the model from its directory, having checked that its files are those that are pinned.
    pub fn load(directory: &Path, provider: ExecutionProvider) -> Result<Self, SearchError> {
        let device = device(provider)?;
        let [weights, tokens] = model::read(directory)?;
        let variables =
            VarBuilder::from_slice_safetensors(&weights, DType::F32, &device).map_err(failed("loaded"))?;
        let model = BertModel::load(variables, &config()).map_err(failed("loaded"))?;
        let mut tokenizer = Tokenizer::from_bytes(&tokens).map_err(tokens_failed)?;
        // The file asks for all sentences to be filled up to 128 tokens, which takes three times as long.
        let longest = TruncationParams { max_length: LONGEST, ..TruncationParams::default() };
        tokenizer.with_padding(None).with_truncation(Some(longest)).map_err(tokens_failed)?;
        if provider == ExecutionProvider::Cuda {
            tokenizer.with_padding(Some(PaddingParams::default()));
        }
        Ok(Self { model, tokenizer, device })
    }

    /// One sentence.
    pub fn embed(&self, sentence: &str) -> Result<Vector, SearchError> {
        let mut vectors = self.batch(&[sentence])?;
        vectors.pop().ok_or_else(|| SearchError::Model { what: "run", why: "it gave no vector".into() })
    }

    /// Many sentences; their vectors in the same order.
    pub fn embed_all(&self, sentences: &[&str]) -> Result<Vec<Vector>, SearchError> {
        let batch = if self.device.is_cpu() { 1 } else { BATCH };
        let mut vectors = Vec::with_capacity(sentences.len());
        for some in sentences.chunks(batch) {
            vectors.extend(self.batch(some)?);
        }
        Ok(vectors)
    }

    fn batch(&self, sentences: &[&str]) -> Result<Vec<Vector>, SearchError> {
        let encoded = self.tokenizer.encode_batch_fast(sentences.to_vec(), true).map_err(tokens_failed)?;
        let length = encoded.first().map_or(0, |one| one.get_ids().len());
        let shape = (encoded.len(), length);
        let tensor = |values: Vec<u32>| Tensor::from_vec(values, shape, &self.device);
        let run = || {
            let ids = tensor(encoded.iter().flat_map(|one| one.get_ids().to_vec()).collect())?;
            let mask = tensor(encoded.iter().flat_map(|one| one.get_attention_mask().to_vec()).collect())?;
            let states = self.model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
            let mask = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
            let mean = states.broadcast_mul(&mask)?.sum(1)?.broadcast_div(&mask.sum(1)?)?;
            let unit = mean.broadcast_div(&mean.sqr()?.sum_keepdim(1)?.sqrt()?)?;
            unit.to_vec2::<f32>()
        };
        let rows = run().map_err(failed("run"))?;
        let vectors = rows.into_iter().filter_map(|row| row.try_into().ok()).collect();
        Ok(vectors)
    }
}
