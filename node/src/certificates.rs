//! Client certificates: whoever shows one that a trusted authority signed, and that has a role, is let in.
//!
//! A door has verified the certificate, and that its key is held, before anything is asked here. What is
//! left is its name, and the role that the settings give that name.
//!
//! Is not: a check of signatures, or of revocation. A certificate that shall let nobody in any more loses its
//! role, and the server is started again; one that lives for days needs neither.

use std::collections::BTreeMap;

use nexus_protocol::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::principal::{Principal, PrincipalKind, Role};

/// What a common name begins with as a name here, which no other name does.
const COMMON_NAME: &str = "CN=";
/// Longest name that is looked at, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Why a certificate that was verified lets nobody in: for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadCertificate {
    #[error("a client certificate cannot be read")]
    NotX509,
    #[error(
        "a client certificate has no name: neither URI, DNS name, nor email, nor a common name"
    )]
    NoName,
    #[error("the client certificate {0:?} has no role: give it one in `auth.certificates`")]
    NoRole(String),
    #[error("the client certificate {0:?} has expired")]
    Expired(String),
}

/// Who is let in by a certificate of this name, and with which role.
#[derive(Debug, Default)]
pub(crate) struct Certificates(pub(crate) BTreeMap<String, Role>);

impl Certificates {
    /// Who has this certificate, in DER.
    pub(crate) fn identify(&self, der: &[u8]) -> Result<Principal, BadCertificate> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| BadCertificate::NotX509)?;
        let name = name_of(&certificate).ok_or(BadCertificate::NoName)?;
        let Some(role) = self.0.get(&name).copied() else {
            return Err(BadCertificate::NoRole(name));
        };
        let mut principal = Principal::new(name, PrincipalKind::Certificate, vec![role]);
        let ends_s = certificate.validity().not_after.timestamp();
        principal.ends_at = Some(Timestamp::from_micros(ends_s.saturating_mul(1_000_000)));
        match principal.is_over() {
            true => Err(BadCertificate::Expired(principal.id)),
            false => Ok(principal),
        }
    }
}

/// The name of whom a certificate is for: its first URI, or else DNS name, or else email, of the alternative
/// names; or else `CN=` and its common name, where it has one alone. No name of one kind reads like one of
/// another: authorities often let whoever asks choose the common name, and vouch for the others.
fn name_of(certificate: &X509Certificate<'_>) -> Option<String> {
    let extension = certificate.subject_alternative_name().ok()?;
    let names = extension.map(|it| it.value.general_names.as_slice()).unwrap_or_default();
    let first =
        |wanted: for<'a> fn(&GeneralName<'a>) -> Option<&'a str>| names.iter().find_map(wanted);
    let uri = first(|name| match name {
        GeneralName::URI(uri) => Some(uri),
        _ => None,
    });
    let dns = || {
        first(|name| match name {
            GeneralName::DNSName(dns) => Some(dns),
            _ => None,
        })
    };
    let email = || {
        first(|name| match name {
            GeneralName::RFC822Name(email) => Some(email),
            _ => None,
        })
    };
    let common = || {
        let mut names = certificate.subject().iter_common_name();
        match (names.next(), names.next()) {
            (Some(only), None) => only.as_str().ok().filter(|name| !name.is_empty()),
            _ => None,
        }
    };
    let common = || common().map(|name| format!("{COMMON_NAME}{name}"));
    let is_of_its_kind = |name: &&str| match (uri, dns()) {
        (Some(_), _) => name.contains(':'),
        (None, Some(_)) => !name.contains([':', '@', '=']),
        (None, None) => name.contains('@'),
    };
    let name = match uri.or_else(dns).or_else(email) {
        Some(name) => Some(name).filter(is_of_its_kind)?.to_owned(),
        None => common()?,
    };
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    fits.then_some(name)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn made(common: &[&str], names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in common {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.subject_alt_names = names;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn roles(names: &[&str]) -> Certificates {
        Certificates(names.iter().map(|name| ((*name).to_owned(), Role::Writer)).collect())
    }

    #[test]
    fn a_certificate_is_called_by_its_first_uri_dns_name_email_or_common_name() {
        let uri = || SanType::URI("spiffe://example/ci".try_into().unwrap());
        let dns = || SanType::DnsName("ci.example".try_into().unwrap());
        let email = || SanType::Rfc822Name("ci@example".try_into().unwrap());
        let address = || SanType::IpAddress([127, 0, 0, 1].into());
        for (common, names, expected) in [
            ("cn", vec![email(), dns(), uri()], "spiffe://example/ci"),
            ("cn", vec![email(), dns()], "ci.example"),
            ("cn", vec![address(), email()], "ci@example"),
            ("cn", vec![address()], "CN=cn"),
            ("cn", vec![], "CN=cn"),
            ("spiffe://example/ci", vec![], "CN=spiffe://example/ci"),
        ] {
            let der = made(&[common], names);
            let who = roles(&[expected]).identify(&der).unwrap();
            assert_eq!((&*who.id, who.kind), (expected, PrincipalKind::Certificate));
            assert_eq!(who.roles, [Role::Writer]);
            assert!(who.ends_at.is_some());
            let error = roles(&["CN", "cn", "spiffe://example/CI"]).identify(&der).unwrap_err();
            assert_eq!(error, BadCertificate::NoRole(expected.to_owned()), "exactly as it is");
        }
    }

    #[test]
    fn what_has_no_name_that_can_be_given_a_role_is_nobody() {
        let all = roles(&["", "a", "a\nb", "CN=", "CN=a\nb"]);
        for common in [vec![], vec![""], vec!["a\nb"], vec![&*"x".repeat(300)]] {
            assert_eq!(
                all.identify(&made(&common, vec![])),
                Err(BadCertificate::NoName),
                "{common:?}"
            );
        }
        // Not of the kind that it says it is.
        let strange = |name: &str| SanType::DnsName(name.try_into().unwrap());
        for name in ["spiffe://example/ci", "ci@example", "CN=ci"] {
            let der = made(&["a"], vec![strange(name)]);
            assert_eq!(
                roles(&[name, "CN=a"]).identify(&der),
                Err(BadCertificate::NoName),
                "{name}"
            );
        }
        for der in [&b""[..], b"\x30\x03", &made(&["a"], vec![])[..100]] {
            assert_eq!(all.identify(der), Err(BadCertificate::NotX509));
        }
    }

    #[test]
    fn one_that_has_expired_is_nobody_whoever_verified_it() {
        let mut params = CertificateParams::new(vec!["a".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        assert_eq!(roles(&["a"]).identify(&der), Err(BadCertificate::Expired("a".to_owned())));
    }
}
