//! What holds when many connections share one key and one bucket.

mod at_once;

mod documents;

mod paths;

mod replicas;
