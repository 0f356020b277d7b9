//! What holds over the whole life of a connection, whatever goes wrong on the way.

mod answers;

mod dry_run;

mod faults;

mod histories;

mod others;

mod overtaken;

mod verify;
