//! The gateway before four doubles of the roles. The roles themselves are tested with it in
//! `tests/end-to-end`.

mod double;
mod doubles;
mod facade;
mod hooks;
mod identity;
mod limits;
mod listings;
mod logins;
mod port;
mod repeats;
mod world;
