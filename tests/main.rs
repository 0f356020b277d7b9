//! The promises of the resource, each a test. One binary, so that it links once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot set up its world should panic"
)]

mod actions;
mod callback;
mod events;
mod hostile;
mod lifecycle;
mod provider;
mod reasons;
mod rounds;
mod schema;
mod sharing;
mod support;
mod template;
mod tidy;
