//! API keys and tokens.

use prost::Message as _;
use stowage_proto::accounts as pb;

use super::table::Foreign::{NotFound, Shared};
use super::table::{ANYBODY, Need, OPERATORS, ROLES, Row, SUPPORT};

const NO_CUSTOMER: super::table::Foreign = NotFound("CUSTOMER_NOT_FOUND");

pub(super) const ROWS: &[Row] = &[
    Row::new("/stowage.accounts.v1.SessionService/CreateApiKey", OPERATORS, NO_CUSTOMER, |n| {
        pb::CreateApiKeyRequest { customer: n.customer(), ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.accounts.v1.SessionService/ListApiKeys", SUPPORT, NO_CUSTOMER, |n| {
        pb::ListApiKeysRequest { customer: n.customer(), ..Default::default() }.encode_to_vec()
    }),
    Row::new(
        "/stowage.accounts.v1.SessionService/RevokeApiKey",
        OPERATORS,
        NotFound("API_KEY_NOT_FOUND"),
        |n| {
            let name = n.api_key.clone();
            pb::RevokeApiKeyRequest { name, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::ApiKey),
    // Who has an API key, or a token, proves by that alone who he is.
    Row::new("/stowage.accounts.v1.SessionService/Login", ANYBODY, Shared, |n| {
        pb::LoginRequest { api_key: n.api_secret.clone(), ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.accounts.v1.SessionService/Logout", ANYBODY, Shared, |n| {
        pb::LogoutRequest { token: n.token.clone() }.encode_to_vec()
    })
    .needs(Need::Session),
    Row::new("/stowage.accounts.v1.SessionService/ResolveToken", ROLES, Shared, |n| {
        pb::ResolveTokenRequest { token: n.token.clone(), ..Default::default() }.encode_to_vec()
    }),
];
