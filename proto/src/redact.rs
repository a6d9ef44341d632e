//! `Debug` of messages that carry secrets: it says that there is one, never which.

use std::fmt;

use crate::{accounts, storage};

/// Writes a `Debug` that shows the named fields and hides all others.
macro_rules! redacted {
    ($($type:ty { $($shown:ident),* })*) => {$(
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type))
                    $(.field(stringify!($shown), &self.$shown))*
                    .finish_non_exhaustive()
            }
        }
    )*};
}

redacted! {
    accounts::AccessKey { access_key, create_time }
    accounts::CreateApiKeyResponse { api_key }
    accounts::LoginRequest { ttl, fixed_address }
    accounts::LoginResponse { expire_time, claims, email }
    accounts::LogoutRequest {}
    accounts::ResolveTokenRequest { address, act_for_customer_id }
    accounts::ResolveTokenResponse { claims, token_expire_time, email, currency }
    storage::EngineKey { access_key }
    storage::EngineSettings { engine, admin_endpoint, s3_endpoint, marker }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let key = storage::EngineKey { access_key: "AK".into(), secret_key: "hush".into() };
        let text = format!("{key:?}");
        assert!(text.contains("AK") && !text.contains("hush"), "{text}");
        let settings = storage::EngineSettings {
            engine: "garage".into(),
            secret_key: "hush".into(),
            admin_token: "hush".into(),
            ..Default::default()
        };
        let text = format!("{settings:?}");
        assert!(text.contains("garage") && !text.contains("hush"), "{text}");
    }

    #[test]
    fn every_method_says_who_may_call_it() {
        assert!(crate::METHODS.len() > 25);
        for method in crate::METHODS {
            assert!(!method.allow.is_empty() && !method.allow.contains(&0), "{}", method.path);
        }
        let create = crate::method("/stowage.accounts.v1.AccountService/CreateAccount");
        assert!(create.expect("it is declared").mutates);
    }
}
