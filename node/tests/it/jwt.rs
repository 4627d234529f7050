//! Who is let in with a JSON Web Token, and who is not.

use std::path::PathBuf;

use nexus_node::config::{ConfigError, Settings, Sources};
use nexus_node::{Engine, Jwks, JwtRules, Node, Principal, PrincipalKind, Role};
use nexus_protocol::{Append, AppendError, EventData, ReadError, Subscribe};
use nexus_testing::{Issuer, base64url};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

const ISSUER: &str = "https://issuer.example";

fn rules() -> JwtRules {
    JwtRules {
        audience: "nexus".to_owned(),
        issuer: Some(ISSUER.to_owned()),
        role_claim: "nexus_role".to_owned(),
    }
}

/// A node that takes tokens of these keys.
fn node(keys: &[Value]) -> Node {
    let jwks = json!({ "keys": keys }).to_string();
    let node = Node::over(Engine::in_memory()).unwrap();
    node.jwts(rules(), Jwks::parse(jwks.as_bytes()).unwrap())
}

/// What a token says that lets somebody in.
fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "nexus", "sub": "alice", "nexus_role": "writer",
        "exp": Issuer::seconds_from_now(300),
    })
}

/// The same, but for this.
fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn rsa(algorithm: &'static str) -> Issuer {
    let pem = include_bytes!("../keys/rsa.pem");
    let key = PrivateKeyDer::from_pem_slice(pem).unwrap();
    Issuer::rsa("rsa", algorithm, key.secret_der())
}

fn refusal(node: &Node, token: &str) -> String {
    node.identify(token).unwrap_err().to_string()
}

#[test]
fn each_algorithm_lets_in_whom_its_key_vouches_for_and_nobody_else() {
    let rsa_all = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map(rsa);
    let mut issuers =
        vec![Issuer::ed("ed"), Issuer::ec("p256", "ES256"), Issuer::ec("p384", "ES384")];
    issuers.extend(rsa_all);
    for issuer in &issuers {
        let node = node(&[issuer.jwk()]);
        let token = issuer.token(&claims());
        let alice = node.identify(&token).unwrap_or_else(|why| panic!("{issuer:?}: {why}"));
        assert_eq!((&*alice.id, alice.kind), ("alice", PrincipalKind::Jwt));
        assert_eq!((&*alice.roles, alice.issuer.as_deref()), (&[Role::Writer][..], Some(ISSUER)));
        // One bit of what is signed, or of the signature, is enough.
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = message.split_once('.').unwrap();
        let mut root = claims();
        root["sub"] = "root".into();
        let forged = format!("{header}.{}.{signature}", base64url(root.to_string()));
        assert!(refusal(&node, &forged).contains("signature is not that of its key"));
        for end in ["", "AAAA"] {
            let why = refusal(&node, &format!("{message}.{end}"));
            assert!(why.contains("signature is not that of its key"), "{why}");
        }
    }
    // A key of the same name that is another's.
    let node = node(&[Issuer::ed("ed").jwk()]);
    let why = refusal(&node, &issuers[0].token(&claims()));
    assert!(why.contains("signature is not that of its key"), "{why}");
}

#[test]
fn the_algorithm_is_the_keys_and_never_what_the_token_says() {
    let ed = Issuer::ed("key");
    let rsa = rsa("RS256");
    let node = node(&[ed.jwk(), rsa.jwk()]);
    for alg in ["none", "None", "NONE", "", "ES256K", "HS1"] {
        let header = json!({ "alg": alg, "kid": "key" });
        let why = refusal(&node, &ed.token_with(&header, &claims()));
        assert!(why.contains("of an algorithm that is not taken"), "{alg}: {why}");
        let unsigned = format!("{}.{}.", base64url(header.to_string()), base64url("{}"));
        assert!(refusal(&node, &unsigned).contains("of an algorithm that is not taken"));
    }
    // What is public as the secret of a shared one: the oldest trick.
    let public = rsa.jwk();
    for (kid, secret) in [
        ("rsa", public["n"].as_str().unwrap().as_bytes().to_vec()),
        ("rsa", include_bytes!("../keys/rsa.pem").to_vec()),
        ("key", ed.jwk()["x"].as_str().unwrap().as_bytes().to_vec()),
    ] {
        let header = json!({ "alg": "HS256", "kid": kid });
        let message =
            format!("{}.{}", base64url(header.to_string()), base64url(claims().to_string()));
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
        let signed = ring::hmac::sign(&secret, message.as_bytes());
        let why = refusal(&node, &format!("{message}.{}", base64url(signed)));
        assert!(why.contains("signed with HS256, and its key is for"), "{why}");
    }
    // A key of RSA has one algorithm like any other.
    let header = json!({ "alg": "PS256", "kid": "rsa" });
    let why = refusal(&node, &self::rsa("PS256").token_with(&header, &claims()));
    assert!(why.contains("signed with PS256, and its key is for RS256"), "{why}");
    // A key that the token brings along is nobody's.
    let stranger = Issuer::ed("stranger");
    for header in [
        json!({ "alg": "EdDSA", "jwk": stranger.jwk() }),
        json!({ "alg": "EdDSA", "kid": "key", "jwk": stranger.jwk(), "jku": "https://stranger" }),
    ] {
        assert!(node.identify(&stranger.token_with(&header, &claims())).is_err(), "{header}");
    }
}

#[test]
fn what_a_token_must_say_is_held_against_the_rules() {
    let issuer = Issuer::ed("key");
    let node = node(&[issuer.jwk()]);
    let at = Issuer::seconds_from_now;
    for (claims, expected) in [
        (claims_with("iss", json!("https://other")), "its issuer is not"),
        (without("iss"), "lacks the claim `iss`"),
        (claims_with("aud", json!("other")), "its audience is not"),
        (claims_with("aud", json!(["other", "more"])), "its audience is not"),
        (claims_with("aud", json!([])), "its audience is not"),
        (without("aud"), "lacks the claim `aud`"),
        (claims_with("aud", json!(7)), "lacks the claim `aud`"),
        (claims_with("exp", json!(at(-62))), "has expired"),
        (without("exp"), "lacks the claim `exp`"),
        (claims_with("exp", json!("tomorrow")), "lacks the claim `exp`"),
        (claims_with("exp", json!(-1)), "lacks the claim `exp`"),
        (claims_with("nbf", json!(at(70))), "does not hold yet"),
        (claims_with("nbf", json!("x")), "lacks the claim `nbf`"),
        (without("sub"), "lacks the claim `sub`"),
        (claims_with("sub", json!("")), "lacks the claim `sub`"),
        (claims_with("sub", json!("a\nb")), "lacks the claim `sub`"),
        (claims_with("sub", json!("x".repeat(257))), "lacks the claim `sub`"),
        (claims_with("sub", json!(5)), "lacks the claim `sub`"),
        (json!([]), "no signed JWT"),
    ] {
        let token = issuer.token(&claims);
        let why = refusal(&node, &token);
        assert!(why.contains(expected), "{claims}: {why}");
        assert!(!why.contains(&token), "a token is never in the log");
    }
    for claims in [
        claims_with("aud", json!(["other", "nexus"])),
        claims_with("exp", json!(at(-30))),
        claims_with("exp", json!(at(30) as f64 + 0.5)),
        claims_with("exp", json!(u64::MAX)),
        claims_with("nbf", json!(at(30))),
        claims_with("iat", json!(at(-1000))),
    ] {
        assert!(node.identify(&issuer.token(&claims)).is_ok(), "{claims}");
    }
}

#[test]
fn roles_are_one_or_many_and_those_of_others_are_not_ours() {
    let issuer = Issuer::ed("key");
    let node = node(&[issuer.jwk()]);
    for (claim, roles) in [
        (json!("reader"), &[Role::Reader][..]),
        (json!(["monitor", "writer", "writer"]), &[Role::Writer, Role::Monitor]),
        (json!(["king", 5, "reader"]), &[Role::Reader]),
        (json!("king"), &[]),
        (json!({ "role": "admin" }), &[]),
        (json!("Admin"), &[]),
        (Value::Null, &[]),
    ] {
        let token = issuer.token(&claims_with("nexus_role", claim.clone()));
        assert_eq!(node.identify(&token).unwrap().roles, roles, "{claim}");
    }
    // Who has none is known, and may do nothing.
    let nobody = node.identify(&issuer.token(&without("nexus_role"))).unwrap();
    let access = node.access(nobody, "default").unwrap();
    let event = EventData::json("A", &1).unwrap();
    let error = access.append(Append::to("a").event(event)).unwrap_err();
    assert!(
        matches!(&error, AppendError::Denied { reason, .. } if reason.contains("\"alice\"")),
        "{error}"
    );
    assert!(matches!(access.head(), Err(ReadError::Denied { .. })));
}

#[test]
fn a_token_names_its_key_unless_there_is_one_alone() {
    let (first, second) = (Issuer::ed("first"), Issuer::ec("second", "ES256"));
    let unnamed = json!({ "alg": "EdDSA" });
    let alone = node(&[first.jwk()]);
    assert!(alone.identify(&first.token_with(&unnamed, &claims())).is_ok());
    let both = node(&[first.jwk(), second.jwk()]);
    assert!(both.identify(&first.token(&claims())).is_ok());
    assert!(both.identify(&second.token(&claims())).is_ok());
    let why = refusal(&both, &first.token_with(&unnamed, &claims()));
    assert!(why.contains("names no key, and the JWKS has several"), "{why}");
    let why = refusal(&both, &Issuer::ed("third").token(&claims()));
    assert!(why.contains("no key of the JWKS is named \"third\""), "{why}");
    let header = json!({ "alg": "EdDSA", "kid": "second" });
    let why = refusal(&both, &first.token_with(&header, &claims()));
    assert!(why.contains("signed with EdDSA, and its key is for ES256"), "{why}");
}

#[test]
fn what_is_no_token_is_refused_whatever_it_is() {
    let issuer = Issuer::ed("key");
    let node = node(&[issuer.jwk()]);
    let long = "x".repeat(9000);
    for token in ["", ".", "..", "...", "a.b.c", "a.b.c.d.e", "nx", &long, "\u{e9}.\u{e9}.\u{e9}"] {
        assert!(node.identify(token).is_err(), "{token}");
    }
    assert!(refusal(&node, &long).contains("9000 bytes, and 8192 are the most"));
    let deep = format!("{}{}", "[".repeat(3000), "]".repeat(3000));
    assert!(node.identify(&format!("{}.{}.AA", base64url(&deep), base64url(&deep))).is_err());
    let padded = issuer.token(&claims()) + "==";
    assert!(node.identify(&padded).is_err());
    for (name, value) in
        [("crit", json!(["b64"])), ("typ", json!("secevent+jwt")), ("typ", json!("dpop+jwt"))]
    {
        let mut header = json!({ "alg": "EdDSA", "kid": "key" });
        header[name] = value;
        let why = refusal(&node, &issuer.token_with(&header, &claims()));
        assert!(why.contains("header asks") || why.contains("of type"), "{why}");
    }
    let header = json!({ "alg": "EdDSA", "kid": "key", "typ": "at+JWT" });
    assert!(node.identify(&issuer.token_with(&header, &claims())).is_ok());
    // Its own tokens are never taken for one, and without keys none is.
    let made = node.create_token(&Principal::local(), "ci", Role::Reader, None).unwrap();
    assert_eq!(node.identify(&made.token).unwrap().kind, PrincipalKind::Token);
    let plain = Node::over(Engine::in_memory()).unwrap();
    assert!(refusal(&plain, &issuer.token(&claims())).contains("is not known"));
}

#[test]
fn keys_that_are_replaced_vouch_for_nobody_any_more() {
    let (old, new) = (Issuer::ed("old"), Issuer::ed("new"));
    let node = node(&[old.jwk()]);
    let local = Principal::local();
    assert!(node.identify(&old.token(&claims())).is_ok());
    node.replace_jwks(&local, Jwks::parse(new.jwks().as_bytes()).unwrap());
    assert!(node.identify(&new.token(&claims())).is_ok());
    assert!(node.identify(&old.token(&claims())).is_err());
    let record = node.audit(&local, None, 10).unwrap().entries;
    let audited = &record.last().unwrap().audited;
    assert_eq!((&*audited.operation, audited.what.as_deref()), ("reload_trust", Some("jwks")));
    assert_eq!(audited.details, Some(json!({ "keys": ["\"new\" (EdDSA)"] })));
}

#[test]
fn a_subjects_keys_are_its_own_and_the_record_says_how_it_is_known() {
    let issuer = Issuer::ed("key");
    let jwks = Jwks::parse(issuer.jwks().as_bytes()).unwrap();
    let rules = JwtRules { issuer: None, ..rules() };
    let node = Node::over(Engine::in_memory()).unwrap().jwts(rules, jwks);
    let made = node.create_token(&Principal::local(), "alice", Role::Admin, None).unwrap();
    let role = |issuer: &str| {
        let mut claims = claims_with("nexus_role", json!("admin"));
        claims["iss"] = issuer.into();
        claims
    };
    let who = [
        node.identify(&made.token).unwrap(),
        node.identify(&issuer.token(&role("https://a"))).unwrap(),
        node.identify(&issuer.token(&role("https://b"))).unwrap(),
        Principal::local(),
    ];
    for principal in who.clone() {
        let access = node.access(principal, "default").unwrap();
        let append = || {
            let append = Append::to("a").event(EventData::json("A", &1).unwrap());
            Append { idempotency_key: Some("k".to_owned()), ..append }
        };
        assert!(!access.append(append()).unwrap().wait().unwrap().replayed);
        assert!(access.append(append()).unwrap().wait().unwrap().replayed);
    }
    node.create_namespace(&who[1], "orders").unwrap();
    let record = node.audit(&Principal::local(), None, 10).unwrap().entries;
    let audited = &record.last().unwrap().audited;
    assert_eq!((&*audited.by, audited.kind.as_deref()), ("alice", Some("jwt")));
    assert_eq!((audited.issuer.as_deref(), &audited.token), (Some("https://a"), &None));
}

#[test]
fn who_was_let_in_goes_when_the_token_ends() {
    let issuer = Issuer::ed("key");
    let node = node(&[issuer.jwk()]);
    // A second or two are left of the leeway.
    let token = issuer.token(&claims_with("exp", json!(Issuer::seconds_from_now(-58))));
    let alice = node.identify(&token).unwrap();
    let access = node.access(alice, "default").unwrap();
    let left = access.time_left().unwrap();
    assert!(left.as_millis() <= 2_000, "{left:?}");
    access.subscribe(Subscribe::all()).unwrap();
    while access.may_still_read().is_ok() {
        std::thread::yield_now();
    }
    let append = Append::to("a").event(EventData::json("A", &1).unwrap());
    assert!(matches!(access.append(append), Err(AppendError::Unauthenticated { .. })));
    assert!(refusal(&node, &token).contains("has expired"));
    assert_eq!(access.time_left().unwrap().as_micros(), 0);
}

#[test]
fn a_set_of_keys_is_public_bounded_and_can_be_used() {
    let (ed, rsa) = (Issuer::ed("ed").jwk(), rsa("RS256").jwk());
    let with = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    let bad = |json: String| Jwks::parse(json.as_bytes()).unwrap_err().to_string();
    let set = |keys: &[Value]| json!({ "keys": keys }).to_string();
    let many: Vec<_> = (0..101).map(|number| with(&ed, "kid", json!(number.to_string()))).collect();
    for (json, expected) in [
        (String::new(), "is no JWKS"),
        ("{}".to_owned(), "is no JWKS"),
        (ed.to_string(), "is no JWKS"),
        ("{\"keys\":{}}".to_owned(), "is no JWKS"),
        (set(&[]), "has no key to verify"),
        (set(&many), "has 101 keys, and 100 are the most"),
        (set(&[ed.clone(), json!({ "kty": "oct", "k": "AAAA" })]), "a secret in key 1"),
        (set(&[with(&ed, "d", json!("AAAA"))]), "a secret in key 0"),
        (set(&[ed.clone(), ed.clone()]), "two keys of the name \"ed\""),
        (set(&[with(&ed, "x", json!("AAAA"))]), "has not the length of its curve"),
        (set(&[with(&ed, "x", json!("???"))]), "is not base64url"),
        (set(&[json!({ "kty": "RSA", "n": "AAAA" })]), "lacks `n` or `e`"),
        (set(&[with(&rsa, "n", json!("AAAA"))]), "has 2048 to 8192 bits"),
        (set(&[with(&rsa, "alg", json!("ES256"))]), "is that of another kind of key"),
        (set(&[with(&rsa, "alg", json!("HS256"))]), "is that of another kind of key"),
        (set(&[json!({ "kid": "x" })]), "lacks `kty`"),
        (set(&[json!(5)]), "it is no JWK"),
        // To encrypt, or of a curve that is not done here: passed over, and nothing is left.
        (set(&[with(&rsa, "use", json!("enc"))]), "has no key to verify"),
        (set(&[with(&rsa, "alg", json!("RSA-OAEP"))]), "has no key to verify"),
        (set(&[with(&rsa, "key_ops", json!(["encrypt"]))]), "has no key to verify"),
        (set(&[json!({ "kty": "OKP", "crv": "X25519", "x": "AAAA" })]), "has no key to verify"),
        (set(&[json!({ "kty": "new" })]), "has no key to verify"),
    ] {
        let why = bad(json.clone());
        assert!(why.contains(expected), "{json}: {why}");
    }
    // A key of RSA that says nothing is for the usual algorithm; a zero before its number is none of it.
    let mut plain = rsa.clone();
    plain.as_object_mut().unwrap().remove("alg");
    let keys = Jwks::parse(set(&[plain, ed.clone()]).as_bytes()).unwrap();
    assert_eq!(keys.names().collect::<Vec<_>>(), ["\"rsa\" (RS256)", "\"ed\" (EdDSA)"]);
}

#[test]
fn a_zero_before_a_number_of_rsa_is_none_of_it() {
    let issuer = rsa("RS256");
    let mut jwk = issuer.jwk();
    let pem = include_bytes!("../keys/rsa.pem");
    let key = PrivateKeyDer::from_pem_slice(pem).unwrap();
    let pair = ring::signature::RsaKeyPair::from_pkcs8(key.secret_der()).unwrap();
    let parts: ring::rsa::PublicKeyComponents<Vec<u8>> = pair.public().into();
    jwk["n"] = base64url([&[0][..], &parts.n].concat()).into();
    assert!(node(&[jwk]).identify(&issuer.token(&claims())).is_ok());
}

#[test]
fn settings_say_whose_tokens_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let issuer = Issuer::ed("key");
    file("keys.json", &issuer.jwks());
    file("none.json", "{}");
    file("large.json", &" ".repeat((1 << 20) + 1));
    let whole = "[auth]\njwks = 'keys.json'\naudience = 'nexus'\nissuer = 'https://issuer.example'";
    let settings = Sources::new().file(file("a.toml", whole)).read().unwrap().settings;
    let (taken, keys) = settings.auth.jwts().unwrap().unwrap();
    assert_eq!(taken, rules());
    let node = Node::over(Engine::in_memory()).unwrap().jwts(taken, keys);
    assert!(node.identify(&issuer.token(&claims())).is_ok());
    assert_eq!(Sources::new().file(file("a.toml", whole)).check().unwrap(), []);
    assert!(Settings::default().auth.jwts().unwrap().is_none());
    for (text, expected) in [
        ("[auth]\njwks = 'keys.json'", "`auth.jwks`"),
        ("[auth]\nissuer = 'x'", "has no keys: set `auth.jwks` too"),
        ("[auth]\naudience = ''", "a text that is not empty"),
        ("[auth]\nkeys = 'x'", "there are jwks, issuer, audience, role_claim"),
    ] {
        let error = Sources::new().file(file("b.toml", text)).read().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    for (name, expected) in [
        ("none.json", "is no JWKS"),
        ("large.json", "more than 1048576 bytes"),
        ("missing.json", "cannot read"),
    ] {
        let text = format!("[auth]\naudience = 'nexus'\njwks = '{name}'");
        let error = Sources::new().file(file("c.toml", &text)).check().unwrap_err().to_string();
        assert!(error.contains("`auth.jwks`") && error.contains(expected), "{error}");
        let error = Jwks::load(&dir.path().join(name)).unwrap_err();
        assert!(!matches!(error, ConfigError::NotPem { .. }), "{error}");
    }
}
