//! Input that nobody meant well: whatever it is, the promises of `hostile/check.rs` hold for it.

/// Shared with the fuzz targets in `fuzz/`.
pub(crate) mod check;

mod events;

mod random;
