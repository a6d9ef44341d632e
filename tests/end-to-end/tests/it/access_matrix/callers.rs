//! Who calls, at which door, and what he is to get.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use prost::Message as _;
use stowage_auth::{ASSERTION_KEY, Principal};
use stowage_proto::common::{PrincipalClaims, PrincipalRole};
use stowage_testkit::{Customer, Signers};
use stowage_types::{Currency, CustomerId};

use super::table::{Answer, Foreign, Row};
use super::world::World;

/// Customer whom a caller is, or acts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// The owner of what is named.
    Owner,
    /// Another.
    Other,
    /// None: he sees everything.
    Nobody,
    /// One that he does not name: he sees nothing.
    Unnamed,
}

/// What a caller proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Shows something that proves nothing.
    Impostor,
    /// Shows nothing.
    Anonymous,
    /// Proves to be this.
    Is(PrincipalRole, For),
}

/// Somebody who calls.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) name: &'static str,
    pub(super) who: Who,
    pub(super) headers: Vec<(&'static str, String)>,
}

/// What he is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// `UNAUTHENTICATED` / `TOKEN_INVALID`.
    Unauthenticated,
    /// `PERMISSION_DENIED` / `ROLE_NOT_ALLOWED`.
    RoleNotAllowed,
    /// What is another's.
    Foreign(Foreign),
    /// What is his.
    Answer(Answer),
}

impl Who {
    pub(super) fn expects(self, row: &Row) -> Expected {
        let (role, acts) = match self {
            Self::Impostor => return Expected::Unauthenticated,
            Self::Anonymous if !row.allow.contains(&PrincipalRole::Anonymous) => {
                return Expected::Unauthenticated;
            }
            Self::Anonymous => return Expected::Answer(row.answer),
            Self::Is(role, acts) => (role, acts),
        };
        if !row.allow.contains(&role) || row.but_not.contains(&role) {
            return Expected::RoleNotAllowed;
        }
        match (acts, row.foreign) {
            (For::Nobody, _) | (For::Unnamed, Foreign::Shared) => {
                Expected::Answer(row.for_nobody.unwrap_or(row.answer))
            }
            (_, Foreign::Installation) => Expected::RoleNotAllowed,
            (For::Owner, _) | (For::Other, Foreign::Shared) => Expected::Answer(row.answer),
            (For::Other | For::Unnamed, _) => Expected::Foreign(row.foreign),
        }
    }
}

/// Whom a stranger at the gateway tries to be by an assertion of his own, beside what he has.
const INJECTED: &str = "stowage-assertion";
const ACT_FOR: &str = "stowage-act-for";

/// Everybody who comes to the gateway, by tokens.
pub(super) async fn at_gateway(world: &World) -> Vec<Caller> {
    use PrincipalRole::{Administrator, Customer, Staff};
    let (kit, site) = (&world.kit, &world.kit.site);
    let [ended, elsewhere] = ["e0".repeat(32), "e1".repeat(32)];
    let past = Some("2026-01-02T00:00:00.000000Z");
    kit.write_token(&ended, Administrator, ("", past)).await;
    kit.write_token(&elsewhere, Administrator, ("192.0.2.1", None)).await;
    let revoked = site.login(&world.owner.api_key).await;
    site.facade.form("/auth.php", &[("action", "logout"), ("token", &revoked)]).await;
    let staff = kit.staff_token().await;

    let bearer = |token: &str| vec![("authorization", format!("Bearer {token}"))];
    let caller = |name, who, headers| Caller { name, who, headers };
    let and = |mut headers: Vec<_>, name, value: String| {
        headers.push((name, value));
        headers
    };
    let admin = || bearer(&site.admin_token);
    // One that every role would take.
    let true_assertion = || administrator(&kit.signers(), None);
    let wrong_scheme = vec![("authorization", format!("Basic {}", site.admin_token))];
    vec![
        caller("no token", Who::Anonymous, Vec::new()),
        caller("no bearer token", Who::Impostor, wrong_scheme),
        caller("an empty token", Who::Impostor, bearer("")),
        caller("an unknown token", Who::Impostor, bearer(&"0f".repeat(32))),
        caller("a token that has ended", Who::Impostor, bearer(&ended)),
        caller("a token for another address", Who::Impostor, bearer(&elsewhere)),
        caller("a revoked token", Who::Impostor, bearer(&revoked)),
        caller("an assertion as token", Who::Impostor, bearer(&true_assertion())),
        caller("the owner", Who::Is(Customer, For::Owner), bearer(&world.owner.token)),
        caller("another", Who::Is(Customer, For::Other), bearer(&world.other.token)),
        caller("staff", Who::Is(Staff, For::Nobody), bearer(&staff)),
        caller("the administrator", Who::Is(Administrator, For::Nobody), admin()),
        caller(
            "the administrator for the owner",
            Who::Is(Administrator, For::Owner),
            and(admin(), ACT_FOR, world.owner.id.to_string()),
        ),
        caller(
            "the administrator for another",
            Who::Is(Administrator, For::Other),
            and(admin(), ACT_FOR, world.other.id.to_string()),
        ),
        caller("nobody with an assertion", Who::Anonymous, vec![(INJECTED, true_assertion())]),
        caller(
            "another with an assertion",
            Who::Is(Customer, For::Other),
            and(bearer(&world.other.token), INJECTED, true_assertion()),
        ),
    ]
}

/// Everybody who comes to a role itself, by assertions.
pub(super) fn at_roles(world: &World) -> Vec<Caller> {
    use PrincipalRole::{Administrator, Customer, Service, Staff, Unspecified};
    let signers = world.kit.signers();
    let ours = &signers.ours;
    let (owner, other) = (customer(&world.owner), customer(&world.other));
    let service = Principal::service("services/accounts", None);
    let staff = of_role(Staff, "support");
    let admin = of_role(Administrator, "administrator");
    let unnamed = Principal { customer: None, ..owner.clone() };
    let acting = |principal: &Principal, whom: &Principal| Principal {
        acted_for: whom.customer,
        currency: whom.currency,
        ..principal.clone()
    };
    let shows = |name, who, assertion| {
        let headers = vec![(ASSERTION_KEY, assertion)];
        Caller { name, who, headers }
    };
    let signed = |name, role, acts, principal: &Principal| {
        shows(name, Who::Is(role, acts), ours.sign(principal).1)
    };
    let impostor = |name, assertion| shows(name, Who::Impostor, assertion);
    let by = |signer: &stowage_auth::Signer| signer.sign(&admin).1;
    vec![
        Caller { name: "no assertion", who: Who::Anonymous, headers: Vec::new() },
        shows("nobody, signed", Who::Anonymous, ours.sign(&Principal::anonymous()).1),
        signed("the owner", Customer, For::Owner, &owner),
        signed("another", Customer, For::Other, &other),
        // Only what he is counts; a customer acts for nobody.
        signed("another for the owner", Customer, For::Other, &acting(&other, &owner)),
        signed("a customer without a number", Customer, For::Unnamed, &unnamed),
        signed("staff", Staff, For::Nobody, &staff),
        signed("the administrator", Administrator, For::Nobody, &admin),
        signed("administrator for owner", Administrator, For::Owner, &acting(&admin, &owner)),
        signed("administrator for another", Administrator, For::Other, &acting(&admin, &other)),
        signed("a role", Service, For::Nobody, &service),
        signed("a role for the owner", Service, For::Owner, &acting(&service, &owner)),
        signed("a role for another", Service, For::Other, &acting(&service, &other)),
        signed("somebody without a role", Unspecified, For::Nobody, &of_role(Unspecified, "x")),
        impostor("one that has ended", by(&signers.before)),
        impostor("one that is not good yet", by(&signers.after)),
        impostor("one for another installation", by(&signers.elsewhere)),
        impostor("one of another signer", by(&signers.stranger)),
        impostor("one that was changed", raised(&ours.sign(&owner))),
        impostor("another's signature", spliced(&ours.sign(&admin).1, &ours.sign(&owner).1)),
        impostor("one that is cut off", cut(&ours.sign(&admin).1)),
        impostor("a token", world.kit.site.admin_token.clone()),
        impostor("an empty one", String::new()),
    ]
}

fn of_role(role: PrincipalRole, subject: &str) -> Principal {
    Principal { role, subject: subject.to_owned(), ..Principal::anonymous() }
}

fn customer(customer: &Customer) -> Principal {
    Principal {
        customer: Some(CustomerId(customer.id)),
        currency: Currency::parse("EUR").ok(),
        ..of_role(PrincipalRole::Customer, &format!("customers/{}", customer.id))
    }
}

/// An assertion of the administrator that is good everywhere.
fn administrator(signers: &Signers, acted_for: Option<CustomerId>) -> String {
    let principal =
        Principal { acted_for, ..of_role(PrincipalRole::Administrator, "administrator") };
    signers.ours.sign(&principal).1
}

/// The claims raised to an administrator's, under the signature of what they were.
fn raised((claims, signed): &(PrincipalClaims, String)) -> String {
    let raised = PrincipalClaims { role: PrincipalRole::Administrator.into(), ..claims.clone() };
    spliced(&format!("{}.", BASE64.encode(raised.encode_to_vec())), signed)
}

/// The claims of one under the signature of the other.
fn spliced(claims: &str, signature: &str) -> String {
    let (claims, _) = claims.split_once('.').expect("claims, a dot, a signature");
    let (_, signature) = signature.split_once('.').expect("claims, a dot, a signature");
    format!("{claims}.{signature}")
}

fn cut(assertion: &str) -> String {
    assertion[..assertion.len() - 4].to_owned()
}
