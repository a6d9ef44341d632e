//! The table: a row for every RPC, written by hand, and compared with the contracts when this
//! test is *built*. An RPC without a row, a row without an RPC, and a declaration that says
//! something else than its row are errors of the compiler, which name the RPC.

use stowage_proto::METHODS;
use stowage_proto::common::PrincipalRole::{
    self, Administrator, Anonymous, Customer, Service, Staff,
};

use super::world::Names;
use super::{rows_accounts, rows_billing, rows_metering, rows_sessions, rows_storage};

/// A dead letter that is not there: nothing was refused.
pub(super) const NO_LETTER: &str = "deadLetters/0196d4ac-0000-7000-8000-000000000000";

/// Roles that may call a method.
pub(super) type Allow = &'static [PrincipalRole];

/// Whoever comes, with a token or without.
pub(super) const ANYBODY: Allow = &[Anonymous, Customer, Staff, Administrator, Service];
/// Whoever has a token.
pub(super) const READERS: Allow = &[Customer, Staff, Administrator, Service];
/// Whoever may change what a customer owns.
pub(super) const OWNERS: Allow = &[Customer, Administrator, Service];
/// Readers of what is of all customers.
pub(super) const SUPPORT: Allow = &[Staff, Administrator, Service];
/// Whoever may change what is of all customers.
pub(super) const OPERATORS: Allow = &[Administrator, Service];
/// Who answers for the whole installation.
pub(super) const ADMINISTRATORS: Allow = &[Administrator];
/// Other roles.
pub(super) const ROLES: Allow = &[Service];

/// What somebody gets who is, or acts for, another customer than the owner of what he names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Foreign {
    /// `NOT_FOUND` with this reason, byte for byte as if the thing did not exist.
    NotFound(&'static str),
    /// An answer, or an error, that is byte for byte the one for a thing that does not exist.
    AsMissing,
    /// `NOT_FOUND` with this reason, where a thing that does not exist is success. For methods of
    /// other roles alone.
    Told(&'static str),
    /// The request names nothing that a customer owns.
    Shared,
    /// It is about the whole installation: who acts for any customer is refused,
    /// `ROLE_NOT_ALLOWED`.
    Installation,
}

/// What those get who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Success.
    Done,
    /// An error with this reason, which only those see whom the thing is visible to.
    Fails(&'static str),
    /// Either: work in the background may have been faster.
    DoneOr(&'static str),
}

/// What a call that changes something is given of its own, so that all calls of a row find the
/// same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// New names suffice: calls do not get into each other's way.
    Serial,
    /// An account with a bucket.
    Account,
    /// A bucket.
    Bucket,
    /// An object.
    Object,
    /// An account with two keys.
    SecondKey,
    /// A bucket that is being deleted.
    Deletion,
    /// A plan.
    Plan,
    /// An API key.
    ApiKey,
    /// A session.
    Session,
}

/// One RPC, with one request.
pub(super) struct Row {
    pub(super) path: &'static str,
    pub(super) allow: Allow,
    /// Roles that may call the method, and are refused this request by its handler.
    pub(super) but_not: Allow,
    pub(super) foreign: Foreign,
    pub(super) answer: Answer,
    /// What operators get who act for nobody, if that is something else.
    pub(super) for_nobody: Option<Answer>,
    pub(super) need: Need,
    pub(super) request: fn(&Names) -> Vec<u8>,
}

impl Row {
    /// A method that answers [`Answer::Done`] to those who may call it.
    pub(super) const fn new(
        path: &'static str,
        allow: Allow,
        foreign: Foreign,
        request: fn(&Names) -> Vec<u8>,
    ) -> Self {
        let (answer, need) = (Answer::Done, Need::Account);
        Self { path, allow, but_not: &[], foreign, answer, for_nobody: None, need, request }
    }

    pub(super) const fn but_not(mut self, roles: Allow) -> Self {
        self.but_not = roles;
        self
    }

    pub(super) const fn answers(mut self, answer: Answer) -> Self {
        self.answer = answer;
        self
    }

    pub(super) const fn for_nobody(mut self, answer: Answer) -> Self {
        self.for_nobody = Some(answer);
        self
    }

    pub(super) const fn needs(mut self, need: Need) -> Self {
        self.need = need;
        self
    }

    const fn refuses(&self, role: PrincipalRole) -> bool {
        !has_role(self.allow, role as i32) || has_role(self.but_not, role as i32)
    }

    /// Whether the method changes something.
    pub(super) fn mutates(&self) -> bool {
        stowage_proto::method(self.path).is_some_and(|method| method.mutates)
    }
}

/// The rows, by role.
pub(super) const TABLE: &[&[Row]] = &[
    rows_accounts::ROWS,
    rows_sessions::ROWS,
    rows_storage::ROWS,
    rows_billing::ROWS,
    rows_metering::ROWS,
];

/// Every row.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().copied().flatten()
}

const _: () = {
    let mut index = 0;
    while index < METHODS.len() {
        let method = &METHODS[index];
        if count_rows(method.path, false) == 0 {
            this_rpc_has_no_row(method.path);
        }
        // Who logs in has the key already.
        let is_open = has_number(method.allow, Anonymous as i32);
        if method.reads_secret && !is_open && count_rows(method.path, true) == 0 {
            this_rpc_tells_staff_secrets(method.path);
        }
        index += 1;
    }
    let mut part = 0;
    while part < TABLE.len() {
        let mut index = 0;
        while index < TABLE[part].len() {
            let row = &TABLE[part][index];
            if !is_declared(row) {
                this_row_differs_from_the_proto(row.path);
            }
            index += 1;
        }
        part += 1;
    }
};

/// Add one to the file of its role: who may call it, and what another customer gets.
const fn this_rpc_has_no_row(path: &str) {
    panic!("{}", path);
}

/// It answers a secret, and there is no row in which staff are refused.
const fn this_rpc_tells_staff_secrets(path: &str) {
    panic!("{}", path);
}

/// Who may call it is not what its `access` declares; or there is no such RPC.
const fn this_row_differs_from_the_proto(path: &str) {
    panic!("{}", path);
}

const fn count_rows(path: &str, refusing_staff: bool) -> usize {
    let (mut part, mut count) = (0, 0);
    while part < TABLE.len() {
        let mut index = 0;
        while index < TABLE[part].len() {
            let row = &TABLE[part][index];
            if is_same(row.path, path) && (!refusing_staff || row.refuses(Staff)) {
                count += 1;
            }
            index += 1;
        }
        part += 1;
    }
    count
}

const fn is_declared(row: &Row) -> bool {
    let mut index = 0;
    while index < METHODS.len() {
        let method = &METHODS[index];
        if is_same(method.path, row.path) {
            let mut number = 0;
            // Past the last role, so that one that is new is seen.
            while number < 16 {
                if has_number(method.allow, number) != has_role(row.allow, number) {
                    return false;
                }
                number += 1;
            }
            return true;
        }
        index += 1;
    }
    false
}

const fn has_number(numbers: &[i32], wanted: i32) -> bool {
    let mut index = 0;
    while index < numbers.len() {
        if numbers[index] == wanted {
            return true;
        }
        index += 1;
    }
    false
}

const fn has_role(roles: &[PrincipalRole], wanted: i32) -> bool {
    let mut index = 0;
    while index < roles.len() {
        if roles[index] as i32 == wanted {
            return true;
        }
        index += 1;
    }
    false
}

/// From the end, where paths differ: the compiler counts steps.
const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut index = one.len();
    while index > 0 {
        index -= 1;
        if one[index] != other[index] {
            return false;
        }
    }
    true
}
