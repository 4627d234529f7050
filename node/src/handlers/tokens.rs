//! To make, list, and revoke tokens; and who has one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nexus_protocol::{AppendError, ReadError};

use crate::audit::Audited;
use crate::config::{self, ConfigError};
use crate::jwt::Jwks;
use crate::node::Node;
use crate::principal::{Principal, Role};
use crate::telemetry::{Context, Operation};
use crate::tokens::{self, Asked, NewToken, TokenInfo};

impl Node {
    /// Makes a token. It is shown once; what is kept cannot be turned back into it. Blocks until that is
    /// durable.
    ///
    /// # Errors
    /// When the principal may not manage tokens, or the name is not one; as an append's.
    pub fn create_token(
        &self,
        principal: &Principal,
        name: &str,
        role: Role,
        ttl: Option<Duration>,
    ) -> Result<NewToken, AppendError> {
        let asked = Asked { name, role, ttl };
        let context = Context::new(Operation::CreateToken, "", &principal.id);
        let make = || {
            let made = self.tokens().create::<AppendError>(principal, &asked, |_| Ok(()));
            made.inspect_err(|error| {
                let audited = Audited::new(Operation::CreateToken, principal);
                self.put_on_record(principal, audited, Some(error));
            })
        };
        let made = self.observe(principal, &context, make)?;
        tracing::info!(by = principal.id, id = made.info.id, name, %role, "a token was made");
        Ok(made)
    }

    /// Whether the principal may make tokens: asked before anything of a request is looked at.
    ///
    /// # Errors
    /// When it may not.
    pub fn may_manage_tokens(&self, principal: &Principal) -> Result<(), AppendError> {
        self.guard_node(principal, Operation::CreateToken).map_err(|refusal| {
            let error = AppendError::from(refusal);
            // What is made once the request was looked at counts as the operation.
            let context = Context::new(Operation::CreateToken, "", &principal.id);
            self.telemetry().log_error(&context, &error);
            error
        })
    }

    /// Makes the first token of an administrator, and keeps it in the file `admin-token` of a directory,
    /// which its owner alone can read; answers where. It does not end by itself.
    ///
    /// # Errors
    /// When the token cannot be made, or the file cannot be written.
    pub fn make_admin_token(
        &self,
        principal: &Principal,
        dir: &Path,
    ) -> Result<PathBuf, FirstTokenError> {
        self.guard_node(principal, Operation::CreateToken).map_err(AppendError::from)?;
        let asked = Asked { name: "admin", role: Role::Admin, ttl: None };
        // Kept before it holds: a crash in between leaves no token that nobody has.
        let mut path = PathBuf::new();
        self.tokens().create::<FirstTokenError>(principal, &asked, |made| {
            path = config::write_admin_token(dir, &made.token)?;
            Ok(())
        })?;
        Ok(path)
    }

    /// The tokens that hold, without their secrets.
    ///
    /// # Errors
    /// When the principal may not manage tokens.
    pub fn list_tokens(&self, principal: &Principal) -> Result<Vec<TokenInfo>, ReadError> {
        let context = Context::new(Operation::Tokens, "", &principal.id);
        self.observe(principal, &context, || Ok(self.tokens().list()))
    }

    /// Makes a token worthless, also for those who were let in with it. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not manage tokens, or there is none of that id; as an append's.
    pub fn revoke_token(&self, principal: &Principal, id: &str) -> Result<(), AppendError> {
        let context = Context::new(Operation::RevokeToken, "", &principal.id);
        self.observe(principal, &context, || {
            let revoked = self.tokens().revoke(principal, id).and_then(|there| {
                let shown: String = id.chars().take(64).collect();
                let missing = || AppendError::NotFound { what: format!("token {shown:?}") };
                there.then_some(()).ok_or_else(missing)
            });
            revoked.inspect_err(|error| {
                let audited = Audited::new(Operation::RevokeToken, principal).about(id);
                self.put_on_record(principal, audited, Some(error));
            })
        })?;
        tracing::info!(by = principal.id, id, "a token was revoked");
        Ok(())
    }

    /// Whether no token holds: none was made yet, or all are revoked or have ended. Without dev mode
    /// nobody is let in then.
    pub fn has_no_tokens(&self) -> bool {
        self.tokens().is_empty()
    }

    /// Who has this token: one of this node's own, or, where the node [takes](Node::jwts) them, a JWT.
    ///
    /// # Errors
    /// When it lets nobody in.
    pub fn identify(&self, token: &str) -> Result<Principal, NotIdentified> {
        match self.trusted_jwts() {
            Some(jwts) if !token.starts_with(tokens::PREFIX) => jwts
                .identify(token)
                .map_err(|why| NotIdentified(format!("a JWT is refused: {why}"))),
            _ => self.tokens().identify(token).ok_or_else(|| {
                NotIdentified("the token is not known, is revoked, or has ended".to_owned())
            }),
        }
    }

    /// Who has this certificate, in DER: a door has verified that a trusted authority signed it, and that
    /// whoever shows it holds its key.
    ///
    /// # Errors
    /// When it lets nobody in: it has no name, or [its name](Node::certificates) no role.
    pub fn identify_certificate(&self, der: &[u8]) -> Result<Principal, NotIdentified> {
        self.known_certificates().identify(der).map_err(|why| NotIdentified(why.to_string()))
    }

    /// Puts on record that a door believes other authorities of client certificates from now on, so many.
    /// Blocks until that is durable.
    pub fn authorities_were_reloaded(&self, principal: &Principal, count: usize) {
        let audited = Audited::new(Operation::ReloadTrust, principal).about("client_ca");
        let audited = audited.with(serde_json::json!({ "authorities": count }));
        self.put_on_record(principal, audited, None);
    }

    /// Takes JWTs that these keys verify from now on, and puts that on record. Blocks until that is durable.
    /// Whoever is let in already stays so until the token ends. Without [`Node::jwts`] nothing changes.
    pub fn replace_jwks(&self, principal: &Principal, keys: Jwks) {
        let Some(jwts) = self.trusted_jwts() else { return };
        let names: Vec<String> = keys.names().collect();
        jwts.replace(keys);
        let audited = Audited::new(Operation::ReloadTrust, principal).about("jwks");
        let audited = audited.with(serde_json::json!({ "keys": names }));
        self.put_on_record(principal, audited, None);
    }
}

/// Why a token or a certificate lets nobody in: for the log, and never with the token. Whoever sent it is
/// told no more than that it does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotIdentified(String);

/// Why there is no first token.
#[derive(Debug, thiserror::Error)]
pub enum FirstTokenError {
    /// It could not be made.
    #[error("cannot make the administrator's token")]
    Append(#[from] AppendError),
    /// It could not be kept.
    #[error("cannot keep the administrator's token")]
    File(#[from] ConfigError),
}
