//! The promises of the resource, each a test.
