//! Bolero targets over everything pure. The targets are the tests of this package; their corpora are committed beside
//! them and replayed on every run.
//!
//! A short run of all: `cargo test -p convoke-fuzz`. Longer:
//! `BOLERO_RANDOM_TEST_TIME_MS=60000 cargo test -p convoke-fuzz`. Coverage-guided, where cargo-bolero is
//! installed: `cargo bolero test -p convoke-fuzz NAME`.

#![forbid(unsafe_code)]
