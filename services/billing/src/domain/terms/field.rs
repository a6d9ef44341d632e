//! The fields of a plan's terms, as masks name them.

/// One field of the terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Title,
    StorageType,
    Location,
    BasePrice,
    Prices,
    QuotaBytes,
    BucketMax,
    GbBytes,
    IncludedStorageGb,
    IncludedTrafficGb,
    StorageMode,
    Period,
    Free,
    FreeParts,
    KeyMax,
    StorageCapGb,
    TrafficCapGb,
    AccountMaxPerCustomer,
}

impl Field {
    /// Every field, with its name in a mask.
    pub(crate) const ALL: [(Self, &'static str); 18] = [
        (Self::Title, "title"),
        (Self::StorageType, "storage_type"),
        (Self::Location, "location"),
        (Self::BasePrice, "base_price"),
        (Self::Prices, "prices"),
        (Self::QuotaBytes, "quota_bytes"),
        (Self::BucketMax, "bucket_max"),
        (Self::GbBytes, "gb_bytes"),
        (Self::IncludedStorageGb, "included_storage_gb"),
        (Self::IncludedTrafficGb, "included_traffic_gb"),
        (Self::StorageMode, "storage_mode"),
        (Self::Period, "period"),
        (Self::Free, "free"),
        (Self::FreeParts, "free_parts"),
        (Self::KeyMax, "key_max"),
        (Self::StorageCapGb, "storage_cap_gb"),
        (Self::TrafficCapGb, "traffic_cap_gb"),
        (Self::AccountMaxPerCustomer, "account_max_per_customer"),
    ];

    /// The field of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(field, _)| *field)
    }
}
