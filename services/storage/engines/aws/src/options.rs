//! What the operator sets.

use std::time::Duration;

use secrecy::SecretString;
use stowage_engine_remote::Authorities;

/// How S3 and IAM are reached, and how often buckets are counted.
#[derive(Debug, Clone)]
pub struct AwsOptions {
    /// Where S3 is, without a path: `https://s3.eu-central-1.amazonaws.com`.
    pub s3_endpoint: String,
    /// Where IAM is, without a path. Default `https://iam.amazonaws.com`.
    pub iam_endpoint: String,
    /// Region of the buckets, which requests to S3 are signed for.
    pub region: String,
    /// Region that requests to IAM are signed for: it has one for all. Default `us-east-1`.
    pub iam_region: String,
    /// Access key of the user that the README's policy is for.
    pub access_key: String,
    /// Its secret.
    pub secret_key: SecretString,
    /// Who has signed the servers' certificates. Default: whom the system trusts.
    pub ca: Authorities,
    /// Name of the path that our users are under: `/<marker>/`. Installations that share an AWS
    /// account have different ones. Default `stowage`.
    pub marker: String,
    /// Longest time a connection may take, TLS included. Default 3 s.
    pub connect_timeout: Duration,
    /// Longest time a call may take. Default 20 s.
    pub call_timeout: Duration,
    /// Longest time the purge of an account may take; what is left is purged by the next attempt.
    /// Default 10 min.
    pub purge_timeout: Duration,
    /// Time between two looks at what every bucket stores, which lists all of it. Default 6 h.
    pub stored_every: Duration,
}

impl AwsOptions {
    /// Defaults for buckets of a region.
    #[must_use]
    pub fn new(
        s3_endpoint: &str,
        region: &str,
        access_key: &str,
        secret_key: SecretString,
    ) -> Self {
        Self {
            s3_endpoint: s3_endpoint.to_owned(),
            iam_endpoint: "https://iam.amazonaws.com".to_owned(),
            region: region.to_owned(),
            iam_region: "us-east-1".to_owned(),
            access_key: access_key.to_owned(),
            secret_key,
            ca: Authorities::System,
            marker: "stowage".to_owned(),
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(20),
            purge_timeout: Duration::from_secs(600),
            stored_every: Duration::from_secs(6 * 60 * 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_do_not_print_the_secret() {
        let options = AwsOptions::new("http://h", "us-east-1", "id", "hush".to_owned().into());
        assert!(!format!("{options:?}").contains("hush"));
    }
}
