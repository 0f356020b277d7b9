//! The checks of `tests/hostile/check.rs`, fed with bytes. They are the same functions that `cargo
//! test` calls with random input: what is checked is written down once.

#[path = "../../tests"]
mod suite {
    #[expect(dead_code, reason = "the tests use the rest of their account")]
    pub(crate) mod support;

    #[path = "hostile/check.rs"]
    pub(crate) mod check;
}

use std::str::from_utf8;

use suite::{check, support};

/// Bytes as an event.
pub fn event(bytes: &[u8]) {
    if let Ok(text) = from_utf8(bytes) {
        check::event(text);
    }
}

/// A JSON object as the properties, any other text as the value of each.
pub fn properties(bytes: &[u8]) {
    match (serde_json::from_slice(bytes), from_utf8(bytes)) {
        (Ok(object @ serde_json::Value::Object(_)), _) => check::properties(&object),
        (_, Ok(text)) => check::value(text),
        (_, Err(_)) => {}
    }
}

/// Bytes as a policy that stands.
pub fn policy(bytes: &[u8]) {
    if let Ok(text) = from_utf8(bytes) {
        check::policy(text);
    }
}
