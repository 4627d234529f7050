//! API tokens: who has one is let in.
//!
//! They live where everything lives: as events of a stream, in the namespace `$system`, which no user can
//! reach. So they survive what the log survives, and who made or revoked which is on record. A token is
//! shown once, when it is made; what is kept is the SHA-256 of its secret, which has 256 random bits, so
//! that a slow hash would add nothing. A change enters the [audit](crate::audit) in the append that makes it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use nexus_protocol::{
    Append, AppendError, EventData, Invalid, Read, ReadError, RecordedEvent, Timestamp,
};
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};

use crate::audit::{AUDIT_STREAM, Audit, Audited};
use crate::principal::{Principal, PrincipalKind, Role, now};
use crate::telemetry::Operation;

/// The stream of tokens, in the namespace `$system`.
pub const TOKENS_STREAM: &str = "tokens";
const CREATED: &str = "TokenCreated";
const REVOKED: &str = "TokenRevoked";
/// Longest name of a token, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Most tokens that hold at a time (I8).
const TOKENS_MAX: usize = 10_000;
/// What every token begins with, so that a leaked one is recognised.
pub(crate) const PREFIX: &str = "nx_";

/// A token, but for its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// What it is revoked by.
    pub id: String,
    /// Who has it, in the words of who made it.
    pub name: String,
    /// What its bearer may do.
    #[serde(with = "role_name")]
    pub role: Role,
    /// From then on it is refused; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time_text")]
    pub expires_at: Option<Timestamp>,
}

/// A token that was just made.
pub struct NewToken {
    /// What is kept of it.
    pub info: TokenInfo,
    /// The token itself: shown once, and kept nowhere.
    pub token: String,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").field("info", &self.info).finish_non_exhaustive()
    }
}

/// What token is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Who it is for.
    pub(crate) name: &'a str,
    /// What its bearer may do.
    pub(crate) role: Role,
    /// After how long it ends by itself.
    pub(crate) ttl: Option<Duration>,
}

#[derive(Serialize, Deserialize)]
struct Created {
    #[serde(flatten)]
    info: TokenInfo,
    sha256: String,
    by: String,
}

#[derive(Serialize, Deserialize)]
struct Revoked {
    id: String,
    by: String,
}

#[derive(Debug)]
struct Kept {
    info: TokenInfo,
    sha256: String,
}

/// The tokens that hold.
#[derive(Debug)]
pub(crate) struct Tokens {
    audit: Arc<Audit>,
    kept: RwLock<BTreeMap<String, Kept>>,
    /// Held while one is made or revoked: whoever is let in meanwhile does not wait for the disk.
    changing: Mutex<()>,
}

impl Tokens {
    /// Reads them from the log; those that have ended meanwhile are none.
    pub(crate) fn load(audit: Arc<Audit>) -> Result<Self, ReadError> {
        let mut kept = BTreeMap::new();
        if let Some(namespace) = audit.system() {
            for event in namespace.read(Read::stream(TOKENS_STREAM)) {
                apply(&mut kept, &event?);
            }
        }
        kept.retain(|_, kept| !is_over(&kept.info));
        Ok(Self { audit, kept: RwLock::new(kept), changing: Mutex::new(()) })
    }

    fn kept(&self) -> RwLockReadGuard<'_, BTreeMap<String, Kept>> {
        self.kept.read().expect("no panic while tokens are changed")
    }

    fn change(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Kept>> {
        self.kept.write().expect("no panic while tokens are looked at")
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().expect("no panic while tokens are changed")
    }

    /// Whether none holds now: nobody is let in by one.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept().values().all(|kept| is_over(&kept.info))
    }

    /// Those that hold now.
    pub(crate) fn list(&self) -> Vec<TokenInfo> {
        let kept = self.kept();
        kept.values().filter(|kept| !is_over(&kept.info)).map(|kept| kept.info.clone()).collect()
    }

    /// Makes one. Durable when it is answered. `keep` is called with it before it holds.
    pub(crate) fn create<E: From<AppendError>>(
        &self,
        by: &Principal,
        asked: &Asked<'_>,
        keep: impl FnOnce(&NewToken) -> Result<(), E>,
    ) -> Result<NewToken, E> {
        let bad = |why: String| E::from(AppendError::from(Invalid::Request(why)));
        let name = asked.name;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let why =
                format!("a token's name has 1 to {NAME_BYTES_MAX} bytes, none of them control");
            return Err(bad(why));
        }
        let _one = self.changing();
        self.change().retain(|_, kept| !is_over(&kept.info));
        if self.kept().len() >= TOKENS_MAX {
            return Err(bad(format!("there are {TOKENS_MAX} tokens already: revoke some")));
        }
        let (id, secret) = (random_hex(8), random_hex(32));
        let expires_at = asked.ttl.map(|ttl| now().saturating_add(ttl));
        let info = TokenInfo { id, name: name.to_owned(), role: asked.role, expires_at };
        let made = NewToken { token: format!("{PREFIX}{}_{secret}", info.id), info };
        keep(&made)?;
        let (info, sha256) = (made.info.clone(), digest_of(&secret));
        let created = Created { info: info.clone(), sha256: sha256.clone(), by: by.id.clone() };
        let ends = info.expires_at.map(|at| at.to_string());
        let details = serde_json::json!({
            "name": info.name, "role": info.role.as_str(), "expires_at": ends,
        });
        let audited = Audited::new(Operation::CreateToken, by).about(&info.id).with(details);
        self.append(CREATED, &created, &audited)?;
        self.change().insert(info.id.clone(), Kept { info, sha256 });
        Ok(made)
    }

    /// Makes one worthless; `false`: there is none of that id.
    pub(crate) fn revoke(&self, by: &Principal, id: &str) -> Result<bool, AppendError> {
        let _one = self.changing();
        let Some(name) = self.kept().get(id).map(|kept| kept.info.name.clone()) else {
            return Ok(false);
        };
        let audited = Audited::new(Operation::RevokeToken, by).about(id);
        let audited = audited.with(serde_json::json!({ "name": name }));
        self.append(REVOKED, &Revoked { id: id.to_owned(), by: by.id.clone() }, &audited)?;
        self.change().remove(id);
        Ok(true)
    }

    /// Appends a change, and to the audit that it was made: both or neither.
    fn append(
        &self,
        event_type: &str,
        value: &impl Serialize,
        audited: &Audited,
    ) -> Result<(), AppendError> {
        let event = EventData::json(event_type, value).expect("a token has a JSON form");
        let append = Append::to(TOKENS_STREAM).event(event);
        let append = append.stream(AUDIT_STREAM).event(audited.event());
        self.audit.namespace()?.append(append).wait().map(|_| ())
    }

    /// Who has this token; `None`: it is not one, or no longer.
    pub(crate) fn identify(&self, token: &str) -> Option<Principal> {
        let (id, secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
        let kept = self.kept();
        let found = kept.get(id)?;
        // Digests of random secrets: how long the comparison takes says nothing about one.
        if found.sha256 != digest_of(secret) || is_over(&found.info) {
            return None;
        }
        let (name, roles) = (found.info.name.clone(), vec![found.info.role]);
        let principal = Principal::new(name, PrincipalKind::Token, roles);
        let (token, ends_at) = (Some(id.to_owned()), found.info.expires_at);
        Some(Principal { token, ends_at, ..principal })
    }

    /// Whether a token that somebody was let in with still holds.
    pub(crate) fn holds(&self, id: &str) -> bool {
        self.kept().get(id).is_some_and(|kept| !is_over(&kept.info))
    }
}

fn apply(kept: &mut BTreeMap<String, Kept>, event: &RecordedEvent) {
    // What a later version writes here, and this one does not know, lets nobody in.
    match event.event_type() {
        CREATED => {
            if let Ok(created) = event.json::<Created>() {
                let Created { info, sha256, .. } = created;
                kept.insert(info.id.clone(), Kept { info, sha256 });
            }
        }
        REVOKED => {
            if let Ok(revoked) = event.json::<Revoked>() {
                kept.remove(&revoked.id);
            }
        }
        _ => {}
    }
}

fn is_over(info: &TokenInfo) -> bool {
    info.expires_at.is_some_and(|at| at <= now())
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    bytes.iter().for_each(|byte| write!(text, "{byte:02x}").expect("a string takes it"));
    text
}

fn random_hex(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    ring::rand::SystemRandom::new().fill(&mut random).expect("the system has random bytes");
    hex(&random)
}

fn digest_of(secret: &str) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, secret.as_bytes()).as_ref())
}

/// A role by its name.
mod role_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::principal::Role;

    pub(super) fn serialize<S: Serializer>(role: &Role, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(role.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Role, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// A time as text.
mod time_text {
    use nexus_protocol::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "serde asks for it")]
    pub(super) fn serialize<S: Serializer>(
        at: &Option<Timestamp>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => to.serialize_str(&at.to_string()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let text: Option<String> = Option::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use nexus_engine::Engine;

    use super::*;
    use crate::telemetry::Door;

    fn tokens(engine: &Engine) -> Tokens {
        Tokens::load(Arc::new(Audit::new(engine.clone()))).unwrap()
    }

    fn create(
        tokens: &Tokens,
        name: &str,
        role: Role,
        ttl: Option<Duration>,
    ) -> Result<NewToken, AppendError> {
        tokens.create(&Principal::local(), &Asked { name, role, ttl }, |_| Ok(()))
    }

    #[test]
    fn a_token_lets_in_until_it_is_revoked_also_after_a_restart() {
        let engine = Engine::in_memory();
        let local = Principal::local();
        let first = tokens(&engine);
        assert!(first.is_empty());
        let made = create(&first, "ci", Role::Writer, None).unwrap();
        assert!(!format!("{made:?}").contains(&made.token), "a secret is never printed");
        for tokens in [&first, &tokens(&engine)] {
            let principal = tokens.identify(&made.token).unwrap();
            assert_eq!((principal.id.as_str(), &*principal.roles), ("ci", &[Role::Writer][..]));
            assert!(tokens.holds(&made.info.id));
            let mut other = made.token.clone();
            other.pop();
            for wrong in ["", "nx_", "nx_a_b", other.as_str(), &format!("{other}x")] {
                assert_eq!(tokens.identify(wrong), None, "{wrong}");
            }
        }
        assert_eq!(engine.namespaces(), ["default"], "no user sees where they are");
        assert!(engine.namespace("$system").is_err(), "or gets there");
        assert!(!first.revoke(&local, "0").unwrap());
        assert!(first.revoke(&local, &made.info.id).unwrap());
        for tokens in [&first, &tokens(&engine)] {
            assert_eq!(tokens.identify(&made.token), None);
            assert!(!tokens.holds(&made.info.id) && tokens.list().is_empty());
        }
    }

    #[test]
    fn a_token_ends_by_itself_and_needs_a_name() {
        let tokens = tokens(&Engine::in_memory());
        let over = create(&tokens, "a", Role::Reader, Some(Duration::ZERO)).unwrap();
        assert_eq!(tokens.identify(&over.token), None);
        assert!(tokens.list().is_empty(), "only those that hold are listed");
        let hour = Some(Duration::from_secs(3600));
        let holds = create(&tokens, "a", Role::Reader, hour).unwrap();
        assert!(tokens.identify(&holds.token).is_some());
        assert_eq!(tokens.kept().len(), 1, "one that has ended takes no place");
        for name in ["", "a\nb", &"x".repeat(200)] {
            assert!(create(&tokens, name, Role::Reader, None).is_err());
        }
    }

    #[test]
    fn tokens_that_have_ended_are_none_after_a_restart() {
        let engine = Engine::in_memory();
        let first = tokens(&engine);
        create(&first, "a", Role::Admin, Some(Duration::ZERO)).unwrap();
        assert!(first.is_empty(), "nobody is let in by it");
        let again = tokens(&engine);
        assert!(again.is_empty());
        assert_eq!(again.kept().len(), 0, "it takes no place");
    }

    #[test]
    fn a_change_is_on_record_with_who_made_it() {
        let tokens = tokens(&Engine::in_memory());
        let asked = Asked { name: "ci", role: Role::Writer, ttl: None };
        let made = create(&tokens, "root", Role::Admin, None).unwrap();
        let root = tokens.identify(&made.token).unwrap().by_door(Door::Http);
        let ci = tokens.create(&root, &asked, |_| Ok::<_, AppendError>(())).unwrap().info.id;
        assert!(tokens.revoke(&root, &ci).unwrap() && !tokens.revoke(&root, "none").unwrap());
        let record = tokens.audit.list(None, 10).unwrap().entries;
        let [_, created, revoked] = &*record else { panic!("{record:?}") };
        let details = serde_json::json!({"name": "ci", "role": "writer", "expires_at": null});
        let expected = Audited {
            operation: "create_token".to_owned(),
            by: "root".to_owned(),
            kind: Some("token".to_owned()),
            issuer: None,
            token: Some(made.info.id),
            door: Some("http".to_owned()),
            namespace: None,
            what: Some(ci),
            details: Some(details),
            outcome: "done".to_owned(),
        };
        assert_eq!(created.audited, expected);
        assert_eq!(revoked.audited.operation, "revoke_token");
        assert_eq!(revoked.audited.what, created.audited.what);
    }

    #[test]
    fn a_token_that_could_not_be_kept_does_not_hold() {
        let tokens = tokens(&Engine::in_memory());
        let asked = Asked { name: "a", role: Role::Admin, ttl: None };
        let refused = tokens.create(&Principal::local(), &asked, |_| Err(AppendError::Unknown));
        assert_eq!(refused.map(|made| made.info), Err(AppendError::Unknown));
        assert!(tokens.is_empty());
    }
}
