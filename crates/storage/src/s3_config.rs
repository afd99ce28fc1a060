//! The options of the S3 storage area, and the client that they make.

use model::{Error, ErrorKind, Result};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{Certificate, ClientOptions, RetryConfig};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// After so long without success a request is given up, whatever the number of tries.
const PATIENCE: Duration = Duration::from_secs(60);

/// The variables that may hold ambient credentials: keys, an identity token (EKS), or the address of a service that gives
/// keys (ECS). Without any, the instance's own role is asked for (EC2).
const AMBIENT: &[(&str, AmazonS3ConfigKey)] = &[
    ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
    ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", AmazonS3ConfigKey::ContainerCredentialsRelativeUri),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
    ("AWS_METADATA_ENDPOINT", AmazonS3ConfigKey::MetadataEndpoint),
];

/// The section `AwsS3Storage`, under Orthanc's names.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// `BucketName`
    pub bucket: String,
    /// `Region`
    pub region: String,
    /// `Endpoint`: an S3 server other than Amazon's. Without a scheme it is `https`.
    pub endpoint: Option<String>,
    /// `VirtualAddressing`: whether the bucket is part of the host's name, or the first part of the path.
    pub virtual_addressing: bool,
    /// `RootPath`: what all keys begin with; may be empty.
    pub root: String,
    pub credentials: Credentials,
    /// `ConnectionTimeout`
    pub connection_timeout: Duration,
    /// `RequestTimeout`: for one request with its body.
    pub request_timeout: Duration,
    /// `MaxRetries`
    pub max_retries: usize,
    /// `MaxConnections`: how many are kept open while idle.
    pub max_connections: usize,
    /// `TransferBufferSize`, in bytes: the size of a part; larger blobs are multipart uploads. At least 5 MiB, by S3's rules.
    pub part_bytes: usize,
    /// `StorageClass`
    pub storage_class: Option<String>,
    /// `Tags`
    pub tags: BTreeMap<String, String>,
    /// `HttpsCACertificates`: a file of PEM certificates that are trusted beside those of the system.
    pub ca_certificates: Option<PathBuf>,
}

/// Who the server is for S3. Never printed.
#[derive(Clone)]
pub enum Credentials {
    /// `AccessKey` and `SecretKey`
    Keys { access: String, secret: String },
    /// What the surroundings give: the process's variables, among which the known ones count.
    Ambient(BTreeMap<String, String>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Keys { .. } => "Keys",
            Credentials::Ambient(_) => "Ambient",
        })
    }
}

impl S3Config {
    /// # Errors
    /// `OutOfRange` with the option that makes no sense.
    pub(crate) fn client(&self, retries: usize) -> Result<AmazonS3> {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_virtual_hosted_style_request(self.virtual_addressing)
            // Objects are removed one by one: not every server has the other way.
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig { max_retries: retries, retry_timeout: PATIENCE, ..RetryConfig::default() });
        let mut options = ClientOptions::new()
            .with_connect_timeout(self.connection_timeout)
            .with_timeout(self.request_timeout)
            .with_pool_max_idle_per_host(self.max_connections);
        for certificate in self.certificates()? {
            options = options.with_root_certificate(certificate);
        }
        if let Some(endpoint) = self.endpoint_url()? {
            options = options.with_allow_http(endpoint.starts_with("http://"));
            builder = builder.with_endpoint(endpoint);
        }
        builder = match &self.credentials {
            Credentials::Keys { access, secret } => builder.with_access_key_id(access).with_secret_access_key(secret),
            Credentials::Ambient(variables) => AMBIENT
                .iter()
                .filter_map(|(name, key)| Some((*key, variables.get(*name)?)))
                .fold(builder, |builder, (key, value)| builder.with_config(key, value)),
        };
        builder.with_client_options(options).build().map_err(|e| refused("AwsS3Storage", &e.to_string()).caused_by(e))
    }

    /// The address of the bucket's server; with virtual addressing, of the bucket.
    fn endpoint_url(&self) -> Result<Option<String>> {
        let Some(text) = &self.endpoint else { return Ok(None) };
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let rest = rest.trim_end_matches('/');
        if !matches!(scheme, "http" | "https") || rest.is_empty() {
            return Err(refused("AwsS3Storage.Endpoint", &format!("{text:?} is no http or https address")));
        }
        if !self.virtual_addressing {
            return Ok(Some(format!("{scheme}://{rest}")));
        }
        let host = rest.split('/').next().unwrap_or(rest);
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        if host.starts_with('[') || name.parse::<IpAddr>().is_ok() {
            let why = format!("{host} is an IP address, so the bucket cannot be part of the host's name: set it to false");
            return Err(refused("AwsS3Storage.VirtualAddressing", &why));
        }
        Ok(Some(format!("{scheme}://{}.{rest}", self.bucket)))
    }

    fn certificates(&self) -> Result<Vec<Certificate>> {
        let Some(file) = &self.ca_certificates else { return Ok(vec![]) };
        let fail = |e: String| refused("HttpsCACertificates", &format!("{}: {e}", file.display()));
        let pem = std::fs::read(file).map_err(|e| fail(e.to_string()))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|e| fail(e.to_string()))?;
        if certificates.is_empty() { Err(fail("no PEM certificate".into())) } else { Ok(certificates) }
    }
}

fn refused(option: &str, why: &str) -> Error {
    Error::new(ErrorKind::OutOfRange, format!("option {option}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: &str, virtual_addressing: bool) -> S3Config {
        S3Config {
            bucket: "scans".into(),
            region: "eu-west-1".into(),
            endpoint: Some(endpoint.into()),
            virtual_addressing,
            root: String::new(),
            credentials: Credentials::Keys { access: "a".into(), secret: "very-secret".into() },
            connection_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(1),
            max_retries: 0,
            max_connections: 1,
            part_bytes: 5 << 20,
            storage_class: None,
            tags: BTreeMap::new(),
            ca_certificates: None,
        }
    }

    #[test]
    fn the_bucket_stands_in_the_host_or_in_the_path() {
        for (endpoint, virtual_addressing, url) in [
            ("s3.example.org", true, "https://scans.s3.example.org"),
            ("s3.example.org", false, "https://s3.example.org"),
            ("http://minio:9000/", false, "http://minio:9000"),
            ("http://minio:9000", true, "http://scans.minio:9000"),
            ("http://127.0.0.1:9000", false, "http://127.0.0.1:9000"),
        ] {
            assert_eq!(config(endpoint, virtual_addressing).endpoint_url().unwrap().unwrap(), url);
        }
    }

    #[test]
    fn what_makes_no_sense_names_its_option() {
        for (endpoint, option) in [
            ("http://127.0.0.1:9000", "AwsS3Storage.VirtualAddressing"),
            ("[::1]:9000", "AwsS3Storage.VirtualAddressing"),
            ("ftp://host", "AwsS3Storage.Endpoint"),
            ("https://", "AwsS3Storage.Endpoint"),
        ] {
            let error = config(endpoint, true).client(0).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutOfRange);
            assert!(error.message().starts_with(&format!("option {option}: ")), "{error}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let error =
            S3Config { ca_certificates: Some(file.path().into()), ..config("s3.example.org", true) }.client(0).unwrap_err();
        assert!(error.message().contains("HttpsCACertificates"), "{error}");
    }

    #[test]
    fn secrets_are_not_printed() {
        assert!(!format!("{:?}", config("h", true)).contains("very-secret"));
    }
}
