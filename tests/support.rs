//! The world of the laws: an AWS account in memory, and CloudFormation's side of the deal.

pub(crate) mod account;

pub(crate) mod broken;

pub(crate) mod chance;

pub(crate) mod lab;

pub(crate) mod session;

pub(crate) mod stack;

pub(crate) mod state;

pub(crate) mod turns;

mod ports;
