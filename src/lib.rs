#![doc = include_str!("../ARCHITECTURE.md")]

pub mod domain;

pub mod cloudformation;

pub mod ports;

pub mod engine;

pub mod aws;

pub mod callback;

pub mod provider;

pub mod metrics;

pub mod log;

pub mod actions;

pub mod cli;
