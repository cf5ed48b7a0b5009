use std::{str::FromStr, time::Duration};

use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

use crate::{PostgresOutboxError, PostgresOutboxErrorKind as Kind};

/// Parses the connection string. TLS is required and verified unless `sslmode=disable` is given: no mode
/// falls back to plaintext. Of several hosts, one that takes writes is used.
pub(crate) fn read(url: &str, timeout: Duration) -> Result<Config, PostgresOutboxError> {
    // The driver does not parse these modes. Certificates and names are always verified here.
    let url = url
        .replace("sslmode=verify-full", "sslmode=require")
        .replace("sslmode=verify-ca", "sslmode=require");
    let mut config = Config::from_str(&url).map_err(|_| Kind::InvalidUrl)?;
    let has_address = !config.get_hosts().is_empty() || !config.get_hostaddrs().is_empty();
    if !has_address {
        return Err(Kind::InvalidUrl.into());
    }
    let is_local = |host: &Host| !matches!(host, Host::Tcp(_));
    let all_local = config.get_hostaddrs().is_empty() && config.get_hosts().iter().all(is_local);
    if all_local {
        config.ssl_mode(SslMode::Disable);
    } else if config.get_ssl_mode() != SslMode::Disable {
        config.ssl_mode(SslMode::Require);
    }
    let number = config.get_hosts().len().max(config.get_hostaddrs().len());
    if number > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    if config.get_application_name().is_none() {
        config.application_name("tower-webhook");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(timeout);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PostgresOutboxBuilder;

    fn mode(url: &str) -> Result<SslMode, Kind> {
        let config = read(url, Duration::from_secs(1)).map_err(|error| error.kind())?;
        Ok(config.get_ssl_mode())
    }

    #[test]
    fn tls_is_required_unless_it_is_turned_off_by_name() {
        for url in [
            "postgres://u:p@db.example/webhooks",
            "postgres://u:p@db.example/webhooks?sslmode=prefer",
            "postgres://u:p@db.example/webhooks?sslmode=verify-full",
            "host=/run/postgresql,db.example user=u",
        ] {
            assert_eq!(mode(url), Ok(SslMode::Require), "{url}");
        }
        for url in [
            "postgres://u:p@127.0.0.1/webhooks?sslmode=disable",
            "host=/run/postgresql user=u",
        ] {
            assert_eq!(mode(url), Ok(SslMode::Disable), "{url}");
        }
        for url in ["", "postgres://", "mysql://db.example", "user=u"] {
            assert_eq!(mode(url), Err(Kind::InvalidUrl), "{url}");
        }
    }

    #[test]
    fn neither_error_nor_builder_shows_the_connection_string() {
        let url = "postgres://u:hush@db.example:x/webhooks";
        let error = read(url, Duration::from_secs(1)).unwrap_err();
        let builder = PostgresOutboxBuilder::new(url);
        for text in [
            format!("{error}"),
            format!("{error:?}"),
            format!("{builder:?}"),
        ] {
            assert!(
                !text.contains("hush") && !text.contains("db.example"),
                "{text}"
            );
        }
    }
}
