//! What a success of each action has beside `result` and `action`. The table of actions refers to
//! it; tests hold real answers against it, so that it cannot fall behind the handlers.

use super::schema::Type::{
    Any, Bool, Day, Flag, Int, List, Map, Maybe, Moment, Number, Object, OneOf, Text,
};
use super::schema::{Field, Type, field, maybe};

const STATUS: Type = OneOf(&[
    "unknown",
    "pending",
    "active",
    "read_only",
    "suspended",
    "ended",
    "failed",
    "deleting",
    "deleted",
]);

const S3UID: Field = field("s3uid", Text, "The account, 32 hexadecimal digits.");

const METERING: Field = field(
    "metering",
    Object(&[
        field("total_traffic_gb", Number, "Traffic of the current month, in GB."),
        field("total_storage_gb", Number, "What is stored, in GB."),
    ]),
    "",
);

const AS_OF: Field = field("as_of", Maybe(&Moment), "How old the figures are; null without any.");

const MB: &str = "Whole MB, rounded up.";

pub(crate) const LIST_PLANS: &[Field] = &[field(
    "plans",
    List(&Object(&[
        field("id", Int, ""),
        field("name", Text, ""),
        field("active", Flag, "Whether it can be ordered."),
        field("storage_type", Text, ""),
        field("location", Text, ""),
        field(
            "price",
            Object(&[
                field("base_price", Maybe(&Number), ""),
                field("price", Map(&Number), "By currency, in upper case."),
            ]),
            "Per period.",
        ),
        field("traffic_overage_price", Map(&Number), "Per GB, by currency, in lower case."),
        field("storage_overage_price", Map(&Number), "Per GB, by currency, in lower case."),
    ])),
    "",
)];

pub(crate) const ORDER: &[Field] = &[
    S3UID,
    field("order_id", Int, ""),
    field("invoice_id", Int, "0 where nothing is charged."),
    field("service_id", Int, ""),
    field("status", STATUS, ""),
    field("endpoint", Text, "The S3 endpoint, a URL."),
];

pub(crate) const BUCKET: &[Field] = &[field("bucket_name", Text, "")];

pub(crate) const FILES: &[Field] = &[
    field(
        "files",
        List(&Object(&[
            field("name", Text, "The key's last part."),
            field("key", Text, ""),
            field("size", Int, "Bytes."),
            field("last_modified", Maybe(&Moment), ""),
            field("etag", Text, ""),
        ])),
        "",
    ),
    field("folders", List(&Object(&[field("name", Text, ""), field("prefix", Text, "")])), ""),
    field("key_count", Int, "Files and folders of this page."),
    field("is_truncated", Bool, "Whether there is more."),
    field("next_continuation_token", Text, "Goes on from here; empty on the last page."),
];

pub(crate) const FILE: &[Field] = &[field("filename", Text, "")];

const USAGE: Field = field("usage_storage", Int, MB);
const QUOTA: Field = field("quota", Int, "Whole MB, rounded up; 0 without a quota.");
const ACCESS_KEY: Field = field("access_key", Text, "");
const SECRET_KEY: Field =
    maybe("secret_key", Text, "Not for support staff, nor where a setting leaves it out.");
const ENDPOINT: Field = field("endpoint", Text, "The S3 endpoint, a URL.");

pub(crate) const BUCKETS_METERED: &[Field] = &[
    field(
        "message",
        List(&Object(&[field("name", Text, ""), field("usage", Int, MB), AS_OF])),
        "The buckets.",
    ),
    USAGE,
    QUOTA,
    METERING,
    ACCESS_KEY,
    SECRET_KEY,
    ENDPOINT,
    AS_OF,
];

pub(crate) const BUCKETS_LIVE: &[Field] = &[
    field(
        "buckets",
        List(&Object(&[
            field("name", Text, ""),
            field("usage", Int, MB),
            field("objects", Int, ""),
            field("traffic_in", Int, "Bytes since the bucket was made."),
            field("traffic_out", Int, "Bytes since the bucket was made."),
            field("snapshots", List(&Any), "Always empty."),
        ])),
        "",
    ),
    USAGE,
    QUOTA,
    METERING,
    ACCESS_KEY,
    SECRET_KEY,
    ENDPOINT,
    AS_OF,
];

pub(crate) const KEY: &[Field] = &[
    field("s3_key", OneOf(&["secret_key", "access_key"]), "What was asked for."),
    field("key", Text, ""),
    maybe("secret_key", Text, "`key` again, if that was asked for."),
    maybe("access_key", Text, "`key` again, if that was asked for."),
];

const SERVICE: Type = Object(&[
    field("id", Int, ""),
    field("entity_id", Int, "The account's number."),
    field("service_ident", Text, "The account's s3uid."),
    field("period", OneOf(&["monthly", "yearly"]), ""),
    field("period_start", Maybe(&Day), ""),
    field("period_end", Maybe(&Day), ""),
    field("next_commit_date", Maybe(&Day), ""),
    field("status", OneOf(&["unknown", "pending", "active", "cancelled", "terminated"]), ""),
]);

pub(crate) const USERS: &[Field] = &[
    field(
        "s3_users",
        List(&Object(&[
            field("id", Int, "The account's number."),
            S3UID,
            field("email", Text, ""),
            field("region", Text, "The location's code."),
            field("billing", Text, ""),
            field("currency", Maybe(&Text), ""),
            field("traffic", Int, MB),
            field("storage_usage", Int, MB),
            field(
                "price",
                Object(&[
                    field("base_price", Maybe(&Number), ""),
                    field("price", Maybe(&Number), "In the customer's currency."),
                ]),
                "",
            ),
            field("service", Maybe(&SERVICE), ""),
            field("plan_id", Int, ""),
            field("storage_type", Text, ""),
            field("status", Maybe(&STATUS), ""),
            field("total_traffic_period_gb", Number, ""),
            field("total_storage_peak_gb", Number, ""),
            AS_OF,
        ])),
        "",
    ),
    field("total", Int, "Rows of all pages."),
    field("offset", Int, ""),
    field("limit", Int, ""),
];

pub(crate) const HISTORY: &[Field] = &[field(
    "history",
    List(&Object(&[
        field("id", Int, ""),
        field("date", Maybe(&Moment), ""),
        field("event", Text, ""),
        field("actor", Text, ""),
        field("s3uid", Maybe(&Text), ""),
        field("old", Any, "The state before, if any."),
        field("new", Any, "The state after, if any."),
    ])),
    "The newest first.",
)];

pub(crate) const ACCOUNT: &[Field] = &[S3UID];

pub(crate) const CANCELLED: &[Field] =
    &[S3UID, field("cancel_date", Maybe(&Day), "The account's last day.")];

pub(crate) const WITHDRAWN: &[Field] = &[S3UID, field("status", STATUS, "")];

pub(crate) const LOCATIONS: &[Field] = &[field(
    "locations",
    List(&Object(&[
        field("location", Text, "Its code."),
        field("endpoint", Text, ""),
        field("storage_types", List(&Text), ""),
    ])),
    "",
)];

pub(crate) const TRAFFIC: &[Field] = &[S3UID, METERING, AS_OF];

/// What `login` and `info` of `/auth.php` tell of a token.
pub(crate) const SESSION: &[Field] = &[
    field("token", Text, "32 characters or longer."),
    field("token_expire", Maybe(&Int), "Seconds since 1970; null for one that does not end."),
    field("role", Maybe(&OneOf(&["Customer", "Staff", "Administrator", "Service"])), ""),
    field("email", Text, ""),
    field("customer_id", Maybe(&Int), ""),
];
