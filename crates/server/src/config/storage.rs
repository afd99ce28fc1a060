//! Where blobs lie: `StorageDirectory`, or the bucket of the section `AwsS3Storage`.

use super::Settings;
use super::orthanc::Errors;
use std::time::Duration;
use storage::{Credentials, LocalConfig, S3Config, StorageConfig};

/// The storage area that is configured.
pub(super) fn storage(settings: &Settings, errors: &mut Errors) -> StorageConfig {
    if settings.members("AwsS3Storage").next().is_some() {
        return StorageConfig::S3(Box::new(s3(settings, errors)));
    }
    let root = settings.path("StorageDirectory").unwrap_or_default();
    StorageConfig::Local(LocalConfig { root, sync: settings.flag("SyncStorageArea") })
}

fn s3(settings: &Settings, errors: &mut Errors) -> S3Config {
    let text = |name: &str| Some(settings.text(name).to_owned()).filter(|t| !t.is_empty());
    let mut required = |name: &str| errors.take(name, text(name).ok_or("is required")).unwrap_or_default();
    let (bucket, region) = (required("AwsS3Storage.BucketName"), required("AwsS3Storage.Region"));
    let credentials = match (text("AwsS3Storage.AccessKey"), text("AwsS3Storage.SecretKey")) {
        (Some(access), Some(secret)) => Ok(Credentials::Keys { access, secret }),
        (None, None) => Ok(Credentials::Ambient(settings.ambient.clone())),
        _ => Err("must be set together with AwsS3Storage.SecretKey"),
    };
    let credentials = errors.take("AwsS3Storage.AccessKey", credentials).unwrap_or(Credentials::Ambient([].into()));
    let tags = settings.members("AwsS3Storage.Tags").filter_map(|(name, value)| {
        let option = format!("AwsS3Storage.Tags.{name}");
        Some((name.clone(), errors.take(&option, value.as_str().ok_or("expected a string"))?.to_owned()))
    });
    let tags = tags.collect();
    let seconds = |name: &str| Duration::from_secs(settings.integer(name));
    let count = |name: &str| usize::try_from(settings.integer(name)).unwrap_or(usize::MAX);
    S3Config {
        bucket,
        region,
        endpoint: text("AwsS3Storage.Endpoint"),
        virtual_addressing: settings.flag("AwsS3Storage.VirtualAddressing"),
        root: settings.text("AwsS3Storage.RootPath").to_owned(),
        credentials,
        connection_timeout: seconds("AwsS3Storage.ConnectionTimeout"),
        request_timeout: seconds("AwsS3Storage.RequestTimeout"),
        max_retries: count("AwsS3Storage.MaxRetries"),
        max_connections: count("AwsS3Storage.MaxConnections"),
        part_bytes: count("AwsS3Storage.TransferBufferSize") << 20,
        storage_class: text("AwsS3Storage.StorageClass"),
        tags,
        ca_certificates: settings.path("AwsS3Storage.HttpsCACertificates").or_else(|| settings.path("HttpsCACertificates")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::orthanc::config;
    use super::super::{ConfigError, Environment, load};
    use super::*;

    fn read(text: &str) -> Result<StorageConfig, ConfigError> {
        let variables = [("ORTHANC_JSON", text), ("AWS_SESSION_TOKEN", "t"), ("HOME", "h")];
        let environment: Environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Ok(config(&load(&[], &environment)?)?.storage)
    }

    fn bucket(text: &str) -> S3Config {
        match read(text).unwrap() {
            StorageConfig::S3(config) => *config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_bucket_it_is_a_folder() {
        for text in ["{}", r#"{"AwsS3Storage": {}}"#] {
            assert!(matches!(read(text).unwrap(), StorageConfig::Local(local) if local.sync));
        }
    }

    #[test]
    fn the_defaults_of_a_bucket_are_orthancs() {
        let config = bucket(r#"{"AwsS3Storage": {"BucketName": "b", "Region": "r"}}"#);
        assert_eq!((config.bucket.as_str(), config.region.as_str(), config.root.as_str()), ("b", "r", ""));
        assert!(config.endpoint.is_none() && config.virtual_addressing && config.tags.is_empty());
        assert!(config.storage_class.is_none() && config.ca_certificates.is_none());
        let (connection, request) = (config.connection_timeout.as_secs(), config.request_timeout.as_secs());
        assert_eq!((connection, request, config.max_retries, config.max_connections), (30, 1200, 10, 25));
        assert_eq!(config.part_bytes, 5 << 20);
        let Credentials::Ambient(variables) = config.credentials else { panic!() };
        assert_eq!(variables, [("AWS_SESSION_TOKEN".to_owned(), "t".to_owned())].into());
    }

    #[test]
    fn every_option_of_a_bucket_counts() {
        let config = bucket(
            r#"{"HttpsCACertificates": "x.pem", "AwsS3Storage": {"BucketName": "b", "Region": "r", "RootPath": "p",
                "Endpoint": "http://h:9000", "VirtualAddressing": false, "AccessKey": "a", "SecretKey": "s", "MaxRetries": 1,
                "ConnectionTimeout": 2, "RequestTimeout": 3, "MaxConnections": 4, "TransferBufferSize": 8,
                "StorageClass": "GLACIER_IR", "Tags": {"k": "v"}}}"#,
        );
        assert_eq!((config.endpoint.as_deref(), config.virtual_addressing), (Some("http://h:9000"), false));
        assert_eq!(
            (config.root.as_str(), config.part_bytes, config.storage_class.as_deref()),
            ("p", 8 << 20, Some("GLACIER_IR"))
        );
        assert_eq!((config.max_retries, config.max_connections, config.tags["k"].as_str()), (1, 4, "v"));
        assert_eq!((config.connection_timeout.as_secs(), config.request_timeout.as_secs()), (2, 3));
        assert!(config.ca_certificates.unwrap().ends_with("x.pem"));
        assert!(matches!(config.credentials, Credentials::Keys { access, secret } if access == "a" && secret == "s"));
    }

    #[test]
    fn what_a_bucket_lacks_is_named() {
        for (text, words) in [
            (r#"{"Region": "r"}"#, "option AwsS3Storage.BucketName: is required"),
            (r#"{"BucketName": "b"}"#, "option AwsS3Storage.Region: is required"),
            (r#"{"BucketName": "b", "Region": "r", "AccessKey": "a"}"#, "AwsS3Storage.AccessKey: must be set together"),
            (r#"{"BucketName": "b", "Region": "r", "SecretKey": "a"}"#, "AwsS3Storage.AccessKey: must be set together"),
            (r#"{"BucketName": "b", "Region": "r", "Tags": {"k": 1}}"#, "option AwsS3Storage.Tags.k: expected a string"),
            (r#"{"BucketName": "b", "Region": "r", "TransferBufferSize": 4}"#, "AwsS3Storage.TransferBufferSize"),
            (r#"{"BucketName": "b", "Region": "r", "StorageEncryption": {"MasterKey": [1, "k"]}}"#, "StorageEncryption"),
        ] {
            let error = read(&format!("{{\"AwsS3Storage\": {text}}}")).err().unwrap().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
