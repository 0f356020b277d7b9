//! The wire protocol of custom resources: an event in, one answer out. Pure.

pub mod request;

pub mod response_url;

pub mod response;
