//! Search over the ledger: by words, by meaning, by time.
//!
//! A question is taken apart ([`question`]: [`when`], how it ended, by whom) and the rest looked for twice, as words and as a
//! vector of its meaning ([`embed`]), in an index that is derived from the ledger ([`index`]) and kept by a process of its
//! own ([`serve`]), which the daemon asks ([`wire`]).

pub mod embed;
mod error;
mod glosses;
pub mod index;
mod last;
pub mod model;
pub mod obtain;
pub mod question;
pub mod remembered;
pub mod rows;
pub mod sentence;
pub mod serve;
pub mod store;
pub mod when;
pub mod wire;
mod words;

pub use error::SearchError;
pub use glosses::glosses;
