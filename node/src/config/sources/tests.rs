//! Settings from made-up files, variables, and flags.

use std::path::Path;

use super::*;
use crate::config::Kind;

/// Fields like those of the settings.
#[derive(Default, Serialize)]
struct Flags {
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grace_s: Option<u64>,
}

fn variables(all: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    all.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn in_file(text: &str) -> (tempfile::TempDir, Sources) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(SETTINGS_FILE), text).unwrap();
    let sources = Sources::new().file_of_data_dir(dir.path());
    (dir, sources)
}

fn refusal(sources: Sources) -> String {
    sources.read().unwrap_err().to_string()
}

fn source_of(loaded: &Loaded, key: &str) -> String {
    loaded.all().find(|setting| setting.key.path == key).unwrap().source.to_string()
}

#[test]
fn where_nothing_is_set_the_defaults_hold() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = Sources::new().file_of_data_dir(dir.path()).read().unwrap();
    assert_eq!(loaded.settings, Settings::default());
    assert!(loaded.all().all(|setting| setting.source == Source::Default));
    assert_eq!(loaded.all().count(), KEYS.len());
}

#[test]
fn flags_go_before_the_environment_that_before_the_file_that_before_defaults() {
    let text = "listen = '127.0.0.1:1'\ngrace_s = 1\ndev = true\n[limits]\nconnections_max = 1\n\
                request_bytes_max = 2_000_000";
    let (dir, sources) = in_file(text);
    let set = variables(&[
        ("NEXUS_LISTEN", "127.0.0.1:2"),
        ("NEXUS_GRACE_S", "2"),
        ("NEXUS_LIMITS_CONNECTIONS_MAX", "2"),
        ("NEXUS_DEV", ""),
        ("OTHER", "1"),
    ]);
    let flags = Flags { listen: Some("127.0.0.1:3"), grace_s: None };
    let loaded = sources.environment(set).flags(&flags).read().unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.listen.port(), 3);
    assert_eq!(settings.grace_s, 2);
    assert!(settings.dev);
    assert_eq!(settings.limits.connections_max, 2);
    assert_eq!(settings.limits.request_bytes_max, 2_000_000);
    assert_eq!(settings.limits.appends_in_flight_max, 1024);
    let file = format!("file {}", dir.path().join(SETTINGS_FILE).display());
    for (key, source) in [
        ("listen", "flag --listen"),
        ("grace_s", "variable NEXUS_GRACE_S"),
        ("dev", &*file),
        ("limits.connections_max", "variable NEXUS_LIMITS_CONNECTIONS_MAX"),
        ("limits.request_bytes_max", &*file),
        ("limits.appends_in_flight_max", "default"),
    ] {
        assert_eq!(source_of(&loaded, key), source, "{key}");
    }
}

#[test]
fn what_cannot_be_is_said_with_key_source_and_what_would_be_right() {
    for (text, parts) in [
        ("listen = 7420", &["`listen`", "is 7420", "ADDRESS:PORT"][..]),
        ("listen = 'localhost'", &["`listen`", "is \"localhost\"", "ADDRESS:PORT"]),
        ("dev = 'yes'", &["`dev`", "is \"yes\"", "write true or false"]),
        ("grace_s = -1", &["`grace_s`", "is -1", "seconds from 0 to 3600"]),
        ("grace_s = 1.5", &["`grace_s`", "is 1.5", "a whole number"]),
        ("grace_s = 1979-05-27", &["`grace_s`", "a whole number"]),
        (
            "lisen = 'x'",
            &[
                "`lisen`",
                "there are listen, dev, grace_s, tls, auth, limits, quota, http, metrics, projections",
            ],
        ),
        ("'limits.connections_max' = 5", &["`limits.connections_max`", "is not a setting"]),
        ("limits = 5", &["`limits`", "is 5", "write [limits]", "connections_max"]),
        ("[limits]\nconnections = 5", &["`limits.connections`", "there are connections_max"]),
        ("[limits]\nconnections_max = 0", &["`limits.connections_max`", "from 1 to 1000000"]),
        ("[limits]\nconnections_max = [1]", &["`limits.connections_max`", "is a list, [1]"]),
        ("[http]\nrequest_time_s = 0", &["`http.request_time_s`", "seconds from 1 to 3600"]),
        ("[http]\ncors_origins = 'https://a'", &["`http.cors_origins`", "a list of origins"]),
        (
            "[http]\ncors_origins = ['https://a/']",
            &["is a list, [\"https://a/\"]", "without a path"],
        ),
        ("[http]\ncors_origins = ['a', 1]", &["`http.cors_origins`", "a list of origins"]),
        ("[metrics]\nopen = 1", &["`metrics.open`", "write true or false"]),
        ("[listen]\nport = 1", &["`listen`", "is a table"]),
        ("[tls]\ncertificate = ''", &["`tls.certificate`", "the path of a file"]),
        ("[tls]\ncertificate = 'a'", &["`tls.certificate`", "has no key: set `tls.key` too"]),
        ("[tls]\nkey = 'a'", &["`tls.key`", "set `tls.certificate` too"]),
        ("dev = true\nlisten = '0.0.0.0:1'", &["`dev`", "0.0.0.0:1", "no loopback", "listen on"]),
        ("[auth]\nissuer = 'a'", &["`auth.issuer`", "has no keys: set `auth.jwks` too"]),
        ("[auth]\nrole_claim = 'a'", &["`auth.role_claim`", "has no keys: set `auth.jwks` too"]),
        ("[tls]\nclient_ca = 'a'", &["`tls.client_ca`", "lets nobody in: set `auth.certificates`"]),
        (
            "[tls]\nclient_ca = 'a'\n[auth.certificates]",
            &["`tls.client_ca`", "lets nobody in: set `auth.certificates` too"],
        ),
        ("\n\nlisten = ", &["is not TOML, at line 3"]),
    ] {
        let (dir, sources) = in_file(text);
        let error = refusal(sources);
        let file = dir.path().join(SETTINGS_FILE);
        assert!(error.contains(&*file.to_string_lossy()), "{text}: {error}");
        for part in parts {
            assert!(error.contains(part), "{text}: {part:?} is not in {error}");
        }
    }
}

#[test]
fn one_body_may_not_be_larger_than_all_together() {
    let (dir, sources) = in_file("[http]\nbody_bytes_max = 2_000_000");
    let set = variables(&[("NEXUS_LIMITS_REQUEST_BYTES_MAX", "1999999")]);
    let file = dir.path().join(SETTINGS_FILE);
    assert_eq!(
        refusal(sources.environment(set)),
        format!(
            "`http.body_bytes_max` (file {}) is 2000000, and `limits.request_bytes_max` (variable \
             NEXUS_LIMITS_REQUEST_BYTES_MAX), for all requests together, only 1999999: lower it, or \
             raise `limits.request_bytes_max`",
            file.display()
        )
    );
    let (_dir, sources) = in_file("[http]\nbody_bytes_max = 1_073_741_824");
    assert!(refusal(sources).contains("`limits.request_bytes_max` (default)"));
    let as_much = "[http]\nbody_bytes_max = 2_000_000\n[limits]\nrequest_bytes_max = 2_000_000";
    assert_eq!(in_file(as_much).1.read().unwrap().settings.http.body_bytes_max, 2_000_000);
}

#[test]
fn the_default_for_one_body_is_within_what_is_set_for_all() {
    let body_with = |all: usize| {
        let (_dir, sources) = in_file(&format!("[limits]\nrequest_bytes_max = {all}"));
        let loaded = sources.read().unwrap();
        let shown = loaded.all().find(|setting| setting.key.path == "http.body_bytes_max").unwrap();
        let body = loaded.settings.http.body_bytes_max;
        assert_eq!((shown.value, shown.source), (body.into(), Source::Default));
        body
    };
    let default = Settings::default().http.body_bytes_max;
    assert_eq!(body_with(1 << 20), 1 << 20);
    assert_eq!(body_with(default - 1), default - 1);
    assert_eq!(body_with(default + 1), default);
}

#[test]
fn everything_that_is_wrong_is_said_at_once_also_where_it_is_overridden() {
    let (_dir, sources) = in_file("grace_s = 'long'\nlimit = 1");
    let set = variables(&[("NEXUS_DEV", "maybe"), ("NEXUS_GRACE_S", "3")]);
    let SettingsError::Wrong(problems) = sources.environment(set).read().unwrap_err() else {
        panic!("settings are wrong")
    };
    let keys: Vec<&str> = problems.iter().map(|problem| &*problem.key).collect();
    assert_eq!(keys, ["grace_s", "limit", "dev"]);
    assert_eq!(problems[2].source, Source::Variable("NEXUS_DEV".to_owned()));
    assert_eq!(problems[2].wrong, "is \"maybe\"");
}

#[test]
fn what_does_not_go_together_is_said_with_the_rest() {
    let (_dir, sources) =
        in_file("grace_s = 'long'\ndev = true\nlisten = '0.0.0.0:1'\n[tls]\nkey = 'a'");
    let SettingsError::Wrong(problems) = sources.read().unwrap_err() else { panic!("wrong") };
    let keys: Vec<&str> = problems.iter().map(|problem| &*problem.key).collect();
    assert_eq!(keys, ["grace_s", "dev", "tls.key"]);
    // From what is wrong by itself nothing follows: it is meant to be something else.
    let (_dir, sources) =
        in_file("dev = 'yes'\nlisten = '0.0.0.0:1'\n[tls]\nkey = 'a'\ncertificate = 1");
    let SettingsError::Wrong(problems) = sources.read().unwrap_err() else { panic!("wrong") };
    let keys: Vec<&str> = problems.iter().map(|problem| &*problem.key).collect();
    assert_eq!(keys, ["dev", "tls.certificate"]);
}

#[test]
fn alone_a_file_may_lack_what_a_variable_adds() {
    let (_dir, sources) = in_file("dev = true\nlisten = '0.0.0.0:1'\n[tls]\nkey = 'a'");
    let contradictions = sources.check().unwrap();
    let keys: Vec<&str> = contradictions.iter().map(|problem| &*problem.key).collect();
    assert_eq!(keys, ["dev", "tls.key"]);
    let (_dir, sources) = in_file("grace_s = 'long'\n[tls]\nkey = 'a'");
    let SettingsError::Wrong(problems) = sources.check().unwrap_err() else { panic!("wrong") };
    assert_eq!(problems.len(), 2);
    let (_dir, sources) = in_file("grace_s = 1");
    assert_eq!(sources.check().unwrap(), []);
}

#[test]
fn a_list_of_origins_stands_in_a_file_and_in_a_variable() {
    let (_dir, sources) =
        in_file("[http]\ncors_origins = ['https://a.example', 'http://[::1]:80']");
    let loaded = sources.read().unwrap();
    assert_eq!(loaded.settings.http.cors_origins, ["https://a.example", "http://[::1]:80"]);
    let (_dir, sources) = in_file("[http]\ncors_origins = ['https://a.example']");
    let set = variables(&[
        ("NEXUS_HTTP_CORS_ORIGINS", "https://b.example:8443, http://localhost"),
        ("NEXUS_METRICS_OPEN", "true"),
    ]);
    let loaded = sources.environment(set).read().unwrap();
    assert_eq!(loaded.settings.http.cors_origins, ["https://b.example:8443", "http://localhost"]);
    assert!(loaded.settings.metrics.open);
    for wrong in ["a.example", "https://", "https://:80", "https://a b", "https://u@a", "null"] {
        let set = variables(&[("NEXUS_HTTP_CORS_ORIGINS", wrong)]);
        let error = refusal(Sources::new().environment(set));
        assert!(error.contains("variable NEXUS_HTTP_CORS_ORIGINS"), "{wrong}: {error}");
    }
}

#[test]
fn names_with_roles_stand_in_a_table_and_in_a_variable() {
    let text = "[tls]\nclient_ca = 'ca.pem'\n[auth.certificates]\n'a.example' = 'reader'\n\
                'spiffe://b/c=d' = 'admin'";
    let (_dir, sources) = in_file(text);
    let set = variables(&[("NEXUS_AUTH_CERTIFICATES", "a.example=writer, spiffe://x=y/z=monitor")]);
    let roles = sources.environment(set).read().unwrap().settings.auth.certificate_roles();
    let roles: Vec<_> = roles.iter().map(|(name, role)| format!("{name} {role}")).collect();
    assert_eq!(roles, ["a.example writer", "spiffe://b/c=d admin", "spiffe://x=y/z monitor"]);
    for wrong in ["a.example", "a.example=king", "=reader"] {
        let set = variables(&[("NEXUS_AUTH_CERTIFICATES", wrong)]);
        let error = refusal(Sources::new().environment(set));
        assert!(error.contains("variable NEXUS_AUTH_CERTIFICATES"), "{wrong}: {error}");
    }
    let (_dir, sources) = in_file("[auth.certificates]\na = 'reader'");
    assert!(refusal(sources).contains("has no authority: set `tls.client_ca` too"));
}

#[test]
fn flags_are_checked_like_the_rest() {
    let flags = Flags { listen: None, grace_s: Some(9999) };
    let error = refusal(Sources::new().flags(&flags));
    assert!(error.contains("(flag --grace-s) is 9999: write a whole number"), "{error}");
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let error = Sources::new().file("not-there.toml").read().unwrap_err();
    assert!(matches!(error, SettingsError::File(_)), "{error}");
    assert!(error.to_string().contains("cannot read not-there.toml"), "{error}");
}

#[test]
fn files_that_a_file_names_are_beside_it() {
    let (dir, sources) = in_file("[tls]\ncertificate = 'c.pem'\nkey = '/k.pem'");
    let tls = sources.read().unwrap().settings.tls;
    assert_eq!(tls.certificate.as_deref(), Some(&*dir.path().join("c.pem")));
    assert_eq!(tls.key.as_deref(), Some(Path::new("/k.pem")));
    let set = variables(&[("NEXUS_TLS_CERTIFICATE", "c.pem"), ("NEXUS_TLS_KEY", "k.pem")]);
    let tls = Sources::new().environment(set).read().unwrap().settings.tls;
    assert_eq!(tls.certificate.as_deref(), Some(Path::new("c.pem")));
}

#[test]
fn variables_that_look_like_settings_are_named() {
    let set = variables(&[
        ("NEXUS_LIMITS_CONNECTION_MAX", "1"),
        ("NEXUS_TOKEN", "secret"),
        ("NEXUS_LIMITSX", "1"),
        ("NEXUS_TLS_KEYS", "x"),
    ]);
    let loaded = Sources::new().environment(set).read().unwrap();
    assert_eq!(loaded.strange_variables, ["NEXUS_LIMITS_CONNECTION_MAX", "NEXUS_TLS_KEYS"]);
}

/// Paths of everything that can be set, as the settings themselves say it.
fn fields(value: &serde_json::Value, table: &str, found: &mut Vec<String>) {
    for (name, value) in value.as_object().unwrap() {
        let path = if table.is_empty() { name.clone() } else { format!("{table}.{name}") };
        let is_key = KEYS.iter().any(|key| key.path == path);
        if value.is_object() && !is_key { fields(value, &path, found) } else { found.push(path) }
    }
}

#[test]
fn every_setting_has_a_key_and_a_row_of_the_reference() {
    let defaults = serde_json::to_value(Settings::default()).unwrap();
    let mut found = Vec::new();
    fields(&defaults, "", &mut found);
    found.sort();
    let mut keys: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
    keys.sort_unstable();
    assert_eq!(found, keys);
    let reference = include_str!("../../../../docs/reference/configuration.md");
    let rows: Vec<&str> = reference.lines().filter(|line| line.starts_with("| `")).collect();
    for key in KEYS {
        let value = defaults.pointer(&format!("/{}", key.path.replace('.', "/"))).unwrap();
        let default = match value {
            serde_json::Value::Null => "none".to_owned(),
            serde_json::Value::String(text) => format!("`\"{text}\"`"),
            value => format!("`{value}`"),
        };
        let begin = format!("| `{}` | `{}` | {default} |", key.path, key.variable());
        let row = rows.iter().find(|row| row.starts_with(&begin));
        let row = row.unwrap_or_else(|| panic!("the reference has no row that begins {begin}"));
        if let Kind::Number { least, most, .. } = key.kind {
            assert!(row.contains(&format!("{least} to {most}")), "{row}");
        }
    }
    let of_none = rows
        .iter()
        .find(|row| !KEYS.iter().any(|key| row.contains(&format!("| `{}` |", key.path))));
    assert_eq!(of_none, None, "the reference has a row of no setting");
    for table in KEYS.iter().filter_map(|key| Some(key.path.split_once('.')?.0)) {
        let begin = format!("`{}_`", variable_of(table));
        assert!(reference.contains(&begin), "the reference names no variables of {begin}");
    }
}
