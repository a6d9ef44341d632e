//! Buckets, objects, locations, and what other roles ask of engines.

use prost::Message as _;
use stowage_proto::storage as pb;

use super::table::Answer::{DoneOr, Fails};
use super::table::Foreign::{AsMissing, Installation, NotFound, Shared, Told};
use super::table::{
    ADMINISTRATORS, Foreign, Need, OPERATORS, OWNERS, READERS, ROLES, Row, SUPPORT,
};

const NO_ACCOUNT: Foreign = NotFound("ACCOUNT_NOT_FOUND");

pub(super) const ROWS: &[Row] = &[
    Row::new("/stowage.storage.v1.BucketService/CreateBucket", OWNERS, NO_ACCOUNT, |n| {
        let bucket = format!("made-{}", n.serial);
        pb::CreateBucketRequest { parent: n.account(), bucket, ..Default::default() }
            .encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.storage.v1.BucketService/ListBuckets", READERS, NO_ACCOUNT, |n| {
        pb::ListBucketsRequest { parent: n.account(), ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.storage.v1.BucketService/DeleteBucket", OWNERS, NO_ACCOUNT, |n| {
        pb::DeleteBucketRequest { name: n.bucket(), ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Bucket),
    Row::new("/stowage.storage.v1.BucketService/SetBucketQuota", OWNERS, NO_ACCOUNT, |n| {
        let (name, quota_bytes) = (n.bucket(), Some(1 << 30));
        pb::SetBucketQuotaRequest { name, quota_bytes, ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.storage.v1.UploadService/ListUploads", READERS, NO_ACCOUNT, |n| {
        pb::ListUploadsRequest { parent: n.bucket(), ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.storage.v1.UploadService/AbortUploads", OWNERS, NO_ACCOUNT, |n| {
        pb::AbortUploadsRequest { parent: n.bucket(), ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.storage.v1.ObjectService/SignObjectUrl", OWNERS, NO_ACCOUNT, |n| {
        let (parent, key, method) = (n.bucket(), "diary".to_owned(), pb::SignedMethod::Get.into());
        pb::SignObjectUrlRequest { parent, key, method, valid_seconds: 60 }.encode_to_vec()
    }),
    // One space of names for all: that a name is taken is what it is asked for.
    Row::new("/stowage.storage.v1.BucketService/CheckBucketName", READERS, Shared, |n| {
        let bucket = n.bucket.clone();
        pb::CheckBucketNameRequest { location: "locations/NL".to_owned(), bucket }.encode_to_vec()
    })
    .answers(Fails("BUCKET_NAME_TAKEN")),
    Row::new("/stowage.storage.v1.ObjectService/ListObjects", READERS, NO_ACCOUNT, |n| {
        pb::ListObjectsRequest { parent: n.bucket(), ..Default::default() }.encode_to_vec()
    }),
    Row::new("/stowage.storage.v1.ObjectService/DeleteObject", OWNERS, NO_ACCOUNT, |n| {
        let (parent, key) = (n.bucket(), "diary".to_owned());
        pb::DeleteObjectRequest { parent, key, ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Object),
    Row::new(
        "/stowage.storage.v1.BucketDeletionService/StartBucketDeletion",
        OWNERS,
        NO_ACCOUNT,
        |n| {
            let bucket = n.bucket();
            pb::StartBucketDeletionRequest { bucket, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Bucket),
    Row::new(
        "/stowage.storage.v1.BucketDeletionService/GetBucketDeletion",
        READERS,
        NO_ACCOUNT,
        |n| pb::GetBucketDeletionRequest { name: n.deletion() }.encode_to_vec(),
    ),
    Row::new(
        "/stowage.storage.v1.BucketDeletionService/ListBucketDeletions",
        READERS,
        NO_ACCOUNT,
        |n| {
            let parent = n.account();
            pb::ListBucketDeletionsRequest { parent, ..Default::default() }.encode_to_vec()
        },
    ),
    Row::new(
        "/stowage.storage.v1.BucketDeletionService/PauseBucketDeletion",
        OWNERS,
        NO_ACCOUNT,
        |n| {
            let name = n.deletion();
            pb::PauseBucketDeletionRequest { name, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Deletion)
    .answers(DoneOr("BUCKET_DELETION_STATE")),
    Row::new(
        "/stowage.storage.v1.BucketDeletionService/ResumeBucketDeletion",
        OWNERS,
        NO_ACCOUNT,
        |n| {
            let name = n.deletion();
            pb::ResumeBucketDeletionRequest { name, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Deletion)
    .answers(DoneOr("BUCKET_DELETION_STATE")),
    Row::new(
        "/stowage.storage.v1.BucketDeletionService/CancelBucketDeletion",
        OWNERS,
        NO_ACCOUNT,
        |n| {
            let name = n.deletion();
            pb::CancelBucketDeletionRequest { name, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Deletion)
    .answers(DoneOr("BUCKET_DELETION_STATE")),
    Row::new("/stowage.storage.v1.LocationService/GetLocation", READERS, Shared, |_| {
        pb::GetLocationRequest { name: "locations/NL".to_owned() }.encode_to_vec()
    }),
    Row::new("/stowage.storage.v1.LocationService/ListLocations", READERS, Shared, |_| {
        pb::ListLocationsRequest::default().encode_to_vec()
    }),
    // There is no such kind of engine.
    Row::new(
        "/stowage.storage.v1.LocationService/AddLocation",
        ADMINISTRATORS,
        Installation,
        |_| {
            let (code, endpoint) = ("DE".to_owned(), "http://127.0.0.1:9".to_owned());
            let engine =
                Some(pb::EngineSettings { engine: "tape".to_owned(), ..Default::default() });
            pb::AddLocationRequest { code, endpoint, engine, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Serial)
    .answers(Fails("INVALID_FIELD")),
    Row::new(
        "/stowage.storage.v1.LocationService/UpdateLocation",
        ADMINISTRATORS,
        Installation,
        |_| {
            let name = "locations/NL".to_owned();
            let paths = vec!["secret_key".to_owned()];
            let update_mask = Some(prost_types::FieldMask { paths });
            pb::UpdateLocationRequest { name, update_mask, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Serial)
    .answers(Fails("LOCATION_CONFIGURED")),
    Row::new(
        "/stowage.storage.v1.LocationService/DrainLocation",
        ADMINISTRATORS,
        Installation,
        |_| {
            let name = "locations/FAR".to_owned();
            pb::DrainLocationRequest { name, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Serial)
    .answers(Fails("LOCATION_NOT_FOUND")),
    Row::new(
        "/stowage.storage.v1.LocationService/UndrainLocation",
        ADMINISTRATORS,
        Installation,
        |_| {
            let name = "locations/NL".to_owned();
            pb::UndrainLocationRequest { name, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Serial),
    Row::new(
        "/stowage.storage.v1.LocationService/RemoveLocation",
        ADMINISTRATORS,
        Installation,
        |_| {
            let name = "locations/NL".to_owned();
            pb::RemoveLocationRequest { name, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Serial)
    .answers(Fails("LOCATION_CONFIGURED")),
    Row::new(
        "/stowage.storage.v1.EngineAccountService/EnsureEngineAccount",
        ROLES,
        AsMissing,
        |n| {
            let key = pb::EngineKey {
                access_key: n.access_key.clone(),
                secret_key: "a secret of the test, forty characters ..".to_owned(),
            };
            let ensure = pb::EnsureEngineAccountRequest {
                name: n.account(),
                customer_id: n.customer,
                location: "locations/NL".to_owned(),
                keys: vec![key],
                quota_bytes: 1_000_000,
                bucket_max: 9,
                ..Default::default()
            };
            ensure.encode_to_vec()
        },
    ),
    // The embedded engine takes the keys that it is given.
    Row::new("/stowage.storage.v1.EngineAccountService/IssueEngineKey", ROLES, NO_ACCOUNT, |n| {
        pb::IssueEngineKeyRequest { name: n.account() }.encode_to_vec()
    })
    .answers(Fails("ENGINE_UNSUPPORTED")),
    // Removing what is gone already is done; a role that is wrong about whose it is, is told.
    Row::new(
        "/stowage.storage.v1.EngineAccountService/RemoveEngineAccount",
        ROLES,
        Told("ACCOUNT_NOT_FOUND"),
        |n| {
            let name = n.account();
            pb::RemoveEngineAccountRequest { name, purge: true }.encode_to_vec()
        },
    ),
    Row::new("/stowage.storage.v1.EngineAccountService/ListKeyUsage", OPERATORS, NO_ACCOUNT, |n| {
        pb::ListKeyUsageRequest { parent: n.account(), ..Default::default() }.encode_to_vec()
    }),
    Row::new(
        "/stowage.storage.v1.EngineAccountService/ListEngineAccounts",
        OPERATORS,
        AsMissing,
        |_| {
            let parent = "locations/NL".to_owned();
            pb::ListEngineAccountsRequest { parent, ..Default::default() }.encode_to_vec()
        },
    ),
    Row::new("/stowage.storage.v1.UsageService/CollectUsage", OPERATORS, NO_ACCOUNT, |n| {
        pb::CollectUsageRequest { name: n.account(), ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial),
    Row::new("/stowage.storage.v1.UsageService/SumEngineUsage", OPERATORS, Installation, |n| {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let window = pb::EngineWindow {
            name: n.account(),
            from_time: at(1_760_000_400),
            to_time: at(1_760_004_000),
        };
        let windows = vec![window];
        pb::SumEngineUsageRequest { windows, with_hours: true, ..Default::default() }
            .encode_to_vec()
    }),
    Row::new("/stowage.storage.v1.KeyringService/GetKeyring", OPERATORS, Installation, |_| {
        pb::GetKeyringRequest {}.encode_to_vec()
    }),
    Row::new(
        "/stowage.storage.v1.KeyringService/RewrapRecords",
        ADMINISTRATORS,
        Installation,
        |_| pb::RewrapRecordsRequest::default().encode_to_vec(),
    )
    .needs(Need::Serial),
    Row::new("/stowage.storage.v1.SagaService/ListSagas", OPERATORS, Installation, |_| {
        pb::ListSagasRequest::default().encode_to_vec()
    }),
    Row::new("/stowage.storage.v1.SagaService/GetSaga", OPERATORS, Installation, |n| {
        pb::GetSagaRequest { name: n.storage_saga.clone() }.encode_to_vec()
    }),
    Row::new("/stowage.storage.v1.SagaService/RetrySaga", OPERATORS, Installation, |n| {
        pb::RetrySagaRequest { name: n.storage_saga.clone(), ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial)
    .answers(Fails("SAGA_ENDED")),
    Row::new("/stowage.storage.v1.SagaService/UndoSaga", OPERATORS, Installation, |n| {
        pb::UndoSagaRequest { name: n.storage_saga.clone(), ..Default::default() }.encode_to_vec()
    })
    .needs(Need::Serial)
    .answers(Fails("SAGA_ENDED")),
    // The account is at that location already.
    Row::new("/stowage.storage.v1.AccountMoveService/StartAccountMove", ROLES, Installation, |n| {
        let key = pb::EngineKey {
            access_key: n.access_key.clone(),
            secret_key: "a secret of the test, forty characters ..".to_owned(),
        };
        let start = pb::StartAccountMoveRequest {
            name: n.account_move(),
            location: "locations/NL".to_owned(),
            keys: vec![key],
            validate_only: false,
        };
        start.encode_to_vec()
    })
    .needs(Need::Serial)
    .answers(Fails("INVALID_FIELD")),
    Row::new(
        "/stowage.storage.v1.AccountMoveService/FreezeAccountMove",
        ROLES,
        Installation,
        |n| pb::FreezeAccountMoveRequest { name: n.account_move() }.encode_to_vec(),
    )
    .needs(Need::Serial)
    .answers(Fails("ACCOUNT_MOVE_NOT_FOUND")),
    Row::new(
        "/stowage.storage.v1.AccountMoveService/ConfirmAccountMove",
        ROLES,
        Installation,
        |n| pb::ConfirmAccountMoveRequest { name: n.account_move() }.encode_to_vec(),
    )
    .needs(Need::Serial)
    .answers(Fails("ACCOUNT_MOVE_NOT_FOUND")),
    Row::new(
        "/stowage.storage.v1.AccountMoveService/CancelAccountMove",
        ROLES,
        Installation,
        |n| pb::CancelAccountMoveRequest { name: n.account_move() }.encode_to_vec(),
    )
    .needs(Need::Serial)
    .answers(Fails("ACCOUNT_MOVE_NOT_FOUND")),
    Row::new(
        "/stowage.storage.v1.AccountMoveService/SwitchAccountMove",
        ROLES,
        Installation,
        |n| {
            let key = pb::EngineKey {
                access_key: n.access_key.clone(),
                secret_key: "a secret of the test, forty characters ..".to_owned(),
            };
            let (name, keys) = (n.account_move(), vec![key]);
            pb::SwitchAccountMoveRequest { name, keys, ..Default::default() }.encode_to_vec()
        },
    )
    .needs(Need::Serial)
    .answers(Fails("ACCOUNT_MOVE_NOT_FOUND")),
    Row::new("/stowage.storage.v1.AccountMoveService/GetAccountMove", SUPPORT, Installation, |n| {
        pb::GetAccountMoveRequest { name: n.account_move() }.encode_to_vec()
    })
    .answers(Fails("ACCOUNT_MOVE_NOT_FOUND")),
    Row::new(
        "/stowage.storage.v1.AccountMoveService/ListAccountMoves",
        SUPPORT,
        Installation,
        |n| {
            pb::ListAccountMovesRequest { parent: n.account(), ..Default::default() }
                .encode_to_vec()
        },
    ),
    // The engine that is embedded cannot tell who is on it.
    Row::new(
        "/stowage.storage.v1.AdoptionService/ListForeignAccounts",
        OPERATORS,
        Installation,
        |_| {
            let parent = "locations/NL".to_owned();
            pb::ListForeignAccountsRequest { parent, ..Default::default() }.encode_to_vec()
        },
    )
    .answers(Fails("ENGINE_UNSUPPORTED")),
    Row::new(
        "/stowage.storage.v1.AdoptionService/GetForeignAccount",
        OPERATORS,
        Installation,
        |_| {
            let (parent, foreign) = ("locations/NL".to_owned(), "somebody".to_owned());
            pb::GetForeignAccountRequest { parent, foreign }.encode_to_vec()
        },
    )
    .answers(Fails("ENGINE_UNSUPPORTED")),
    Row::new("/stowage.storage.v1.AdoptionService/AdoptEngineAccount", ROLES, AsMissing, |n| {
        let adopt = pb::AdoptEngineAccountRequest {
            name: n.account(),
            customer_id: n.customer,
            location: "locations/NL".to_owned(),
            foreign: "somebody".to_owned(),
        };
        adopt.encode_to_vec()
    })
    .answers(Fails("ENGINE_UNSUPPORTED")),
];
