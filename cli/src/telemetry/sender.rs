//! The way to a collector: HTTP, plain or by TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue};
use nexus_protocol::percent::decoded;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::otlp::SEND_TIME_MAX;
use crate::exit::Failure;
use crate::variable;

/// Largest answer of a collector that is looked at, in bytes.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// Names a PEM file of the certificates that a collector is trusted by. No list of authorities is built
/// in: it would be as old as the binary.
const TRUSTED: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
/// What a collector is told besides, such as who sends: `NAME=VALUE,…`, with values percent-encoded.
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// Sends what is exported. Its clones know of each other whether the collector is there.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    agent: Agent,
    headers: HeaderMap,
    reached: Arc<AtomicBool>,
}

impl Sender {
    /// By TLS too, if that is asked for.
    ///
    /// # Errors
    /// When it is not known which certificates to trust, or what to say besides.
    pub(super) fn new(by_tls: bool) -> Result<Self, Failure> {
        let roots = if by_tls { trusted()? } else { RootCerts::new_with_certs(&[]) };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(roots)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let config = Agent::config_builder().http_status_as_error(false).tls_config(tls).build();
        let headers = match variable(HEADERS) {
            Some(text) => {
                headers(&text).map_err(|why| Failure::usage(format!("{HEADERS}: {why}")))?
            }
            None => HeaderMap::new(),
        };
        Ok(Self { agent: config.into(), headers, reached: Arc::new(AtomicBool::new(true)) })
    }

    /// Whether the last that was sent came to an answer; also before anything was sent.
    pub(super) fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// Sends a request, and waits for its answer, at most for so long.
    pub(super) fn send(
        &self,
        mut request: Request<Bytes>,
        at_most: Duration,
    ) -> Result<Response<Bytes>, ureq::Error> {
        for (name, value) in &self.headers {
            request.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
        let request = request.map(|bytes| bytes.to_vec());
        let request = self.agent.configure_request(request);
        let request = request.timeout_global(Some(at_most.max(Duration::from_millis(1)))).build();
        let answer = self.agent.run(request);
        self.reached.store(answer.is_ok(), Ordering::Relaxed);
        let (head, mut body) = answer?.into_parts();
        let bytes = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(head, bytes.into()))
    }
}

/// The headers in a list of them. No message repeats a value, which may be a secret.
fn headers(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (index, pair) in text.split(',').enumerate().filter(|(_, pair)| !pair.trim().is_empty()) {
        let bad = || {
            let place = index + 1;
            format!(
                "header {place} of the list is none: write NAME=VALUE, with values percent-encoded"
            )
        };
        let (name, value) = pair.split_once('=').ok_or_else(bad)?;
        let name = HeaderName::try_from(name.trim()).map_err(|_| bad())?;
        let value = decoded(value.trim()).ok_or_else(bad)?;
        let mut value = HeaderValue::try_from(value).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The certificates in the file that the variable names.
fn trusted() -> Result<RootCerts, Failure> {
    let Some(path) = std::env::var_os(TRUSTED).filter(|path| !path.is_empty()) else {
        let why = format!(
            "{TRUSTED} is not set: for https it names a PEM file of the certificates to trust"
        );
        return Err(Failure::usage(why));
    };
    let path = std::path::PathBuf::from(path);
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
        Ok(self.send(request, SEND_TIME_MAX)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_a_list_of_encoded_values() {
        let found = headers("authorization=Basic%20dTpw, x-tenant = a=b ,").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found["authorization"], "Basic dTpw");
        assert_eq!(found["x-tenant"], "a=b");
        assert!(!format!("{found:?}").contains("dTpw"), "a secret is never printed");
        for wrong in ["secret", "a b=secret", "a=secret%", "a=secret%zz", "a=secret%0a", "=secret"]
        {
            let why = headers(&format!("x=1,{wrong}")).unwrap_err();
            assert!(why.contains("header 2") && !why.contains("secret"), "{wrong}: {why}");
        }
    }
}
