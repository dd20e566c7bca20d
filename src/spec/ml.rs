//! Search by meaning: whether, and what computes it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::path::is_plain;

/// Search by meaning. Without it the search is one of words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ml {
    /// Whether the ledger's entries are embedded, so that they are found by what they mean. It takes the model's files
    /// (`op-dbus model fetch`) and about 150 MB of memory while it works.
    #[serde(default)]
    pub enable: bool,
    /// What computes the embeddings.
    #[serde(default)]
    pub execution_provider: ExecutionProvider,
    /// The threads that compute them.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub num_threads: u16,
    /// The directory of the model's files. Default: below `@cache`, where `op-dbus model fetch` puts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
}

/// What computes the embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExecutionProvider {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU. The programs must have been built for it; where they were not, or there is none, nothing is embedded,
    /// and the search says why.
    Cuda,
}

fn one() -> u16 {
    1
}

impl Default for Ml {
    fn default() -> Self {
        Self {
            enable: false,
            execution_provider: ExecutionProvider::default(),
            num_threads: one(),
            model: None,
        }
    }
}

impl Ml {
    /// The first field that is wrong, and why.
    #[must_use]
    pub fn refusal(&self) -> Option<(&'static str, String)> {
        if !(1..=1024).contains(&self.num_threads) {
            return Some(("ml.numThreads", "it is from 1 to 1024".into()));
        }
        let path = self.model.as_ref()?;
        (!is_plain(path, |c| !c.is_control()))
            .then(|| ("ml.model", "write an absolute path, without '..'".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        let good = Ml::default();
        assert_eq!(good.refusal(), None);
        assert_eq!(Ml { model: Some("/srv/models".into()), ..good.clone() }.refusal(), None);
        for (ml, field) in [
            (Ml { num_threads: 0, ..good.clone() }, "ml.numThreads"),
            (Ml { num_threads: 1025, ..good.clone() }, "ml.numThreads"),
            (Ml { model: Some("models".into()), ..good.clone() }, "ml.model"),
            (Ml { model: Some("/srv/../etc".into()), ..good }, "ml.model"),
        ] {
            assert_eq!(ml.refusal().map(|(field, _)| field), Some(field));
        }
    }
}
