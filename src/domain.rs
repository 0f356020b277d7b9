//! What the resource means: pure decisions on values, without AWS, async, clock or randomness.

pub mod refusal;

pub mod spec;

mod reader;

pub mod field;

pub mod schema;

pub mod identity;

pub mod ica;

pub mod policy;

pub mod shared;

pub mod document;

pub mod register;

pub mod seen;

pub mod preflight;

mod warning;

pub mod attributes;

pub mod plan;

pub mod change;

pub mod recorded;

pub mod report;
