//! The whole server through its doors: sockets, real clients, the real program.

mod access;
mod acting;
mod audit;
mod cli;
mod concurrent;
mod crash;
mod doors;
mod facade_actions;
mod facade_files;
mod facade_foreign;
mod facade_transport;
mod facade_users;
mod field_tools;
mod foreign;
mod go_types;
mod golden;
mod grpc;
mod limits;
mod openapi;
mod orders;
mod readme;
mod repeats;
mod secrets;
mod tools;
mod users_model;
mod walk;
