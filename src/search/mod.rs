//! Search over the ledger: by words, by meaning, by time.
//!
//! A question is taken apart ([`question`]: [`when`], how it ended, by whom) and the rest looked for twice, as words and as a
//! vector of its meaning ([`embed`]), in an index that is derived from the ledger ([`index`]) and kept by a process of its
//! own ([`serve`]), which the daemon asks ([`wire`]). The vectors are in that index, or with those of other hosts on a server
//! ([`vectors`], [`qdrant`]).

pub mod embed;
mod error;
mod glosses;
pub mod index;
mod last;
pub mod model;
pub mod obtain;
pub mod qdrant;
pub mod question;
pub mod remembered;
pub mod rows;
pub mod sentence;
pub mod serve;
pub mod store;
pub mod vectors;
pub mod when;
pub mod wire;
mod words;

pub use error::SearchError;
pub use glosses::glosses;
