//! What models learn from: documents, their split, tokens, and the rows that are dealt from them. All of it is the
//! host's; miners bring no data.
pub mod alphabet;
pub mod contamination;
pub mod corpus;
pub mod dataset;
pub mod fixture;
mod parquet;
pub mod prepare;
pub mod rows;
mod shards;
pub mod split;
pub mod tokenizer;

pub use alphabet::Alphabet;
pub use corpus::{Corpus, CorpusError, Document, Limits};
pub use rows::{Deal, Dealer, DealerError, Resume};
pub use split::Split;
pub use tokenizer::{Tokenizer, TokenizerError, TokenizerFile};
