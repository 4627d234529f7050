//! The way to a collector: HTTP, plain or by TLS.

use std::sync::Arc;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::otlp::SEND_TIME_MAX;
use crate::exit::Failure;

/// Largest answer of a collector that is looked at, in bytes.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// Names a PEM file of the certificates that a collector is trusted by. No list of authorities is built
/// in: it would be as old as the binary.
const TRUSTED: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";

/// Sends what is exported.
#[derive(Clone, Debug)]
pub(super) struct Sender(Agent);

impl Sender {
    /// By TLS too, if that is asked for.
    ///
    /// # Errors
    /// When it is not known which certificates to trust.
    pub(super) fn new(by_tls: bool) -> Result<Self, Failure> {
        let roots = if by_tls { trusted()? } else { RootCerts::new_with_certs(&[]) };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(roots)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let config = Agent::config_builder()
            .timeout_global(Some(SEND_TIME_MAX))
            .http_status_as_error(false)
            .tls_config(tls)
            .build();
        Ok(Self(config.into()))
    }

    /// Sends a request, and waits for its answer.
    pub(super) fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let answer = self.0.run(request.map(|bytes| bytes.to_vec()))?;
        let (head, mut body) = answer.into_parts();
        let bytes = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(head, bytes.into()))
    }
}

/// The certificates in the file that the variable names.
fn trusted() -> Result<RootCerts, Failure> {
    let Some(path) = std::env::var_os(TRUSTED) else {
        let why = format!(
            "{TRUSTED} is not set: for https it names a PEM file of the certificates to trust"
        );
        return Err(Failure::usage(why));
    };
    let bytes = std::fs::read(&path).map_err(|why| {
        Failure::failed(format!("cannot read {}, which {TRUSTED} names: {why}", path.display()))
    })?;
    let certificates: Vec<_> = parse_pem(&bytes)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        let why = format!("{}, which {TRUSTED} names, has no certificate in it", path.display());
        return Err(Failure::usage(why));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

#[async_trait]
impl HttpClient for Sender {
    /// Blocks: it runs on the exporter's own thread.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        Ok(self.send(request)?)
    }
}
