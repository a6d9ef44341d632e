//! The program as it is started, watched and stopped: the real binary, and the server in process.
#![cfg(test)]

mod admin;
mod admin_dead_letter;
mod admin_metering;
mod admin_saga;
mod admin_webhook;
mod audit;
mod compose;
mod config;
mod engines;
mod keyring;
mod parts;
mod process;
mod start;
mod stop;
mod trouble;
