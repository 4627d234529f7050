//! `nexus token`: who is let into a server.

use std::time::Duration;

use nexus_node::{Node, Principal, Role, TokenInfo};
use nexus_protocol::Timestamp;
use nexus_protocol::wire::TokenHead;
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{Facts, Output, text};
use crate::store::{Place, Store};

/// Makes, lists, and revokes tokens
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Makes a token, and shows it this once
    #[command(after_help = "\
Examples:
  nexus --server 'nexus://HOST:7420?fingerprint=sha256:…' token create --name ci --role writer --ttl 30d
  nexus --data ./data token create --name root --role admin --output json

Over a server it takes an administrator's token in NEXUS_TOKEN; on a data directory, that no server
runs on it. Roles: admin may do everything; operator all but append and manage tokens; writer appends
and reads; reader reads; monitor sees counts.")]
    Create(CreateArgs),
    /// Lists the tokens that hold, without what is secret
    #[command(after_help = "Example:\n  nexus --data ./data token list")]
    List,
    /// Makes a token worthless, at once
    #[command(after_help = "Example:\n  nexus --data ./data token revoke 0123456789abcdef")]
    Revoke(RevokeArgs),
}

/// What token to make.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// Who it is for
    #[arg(long, value_name = "NAME")]
    name: String,
    /// What its bearer may do: admin, operator, writer, reader, or monitor
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// After how long it ends by itself, as in 90s, 30m, 12h, or 30d; never unless given
    #[arg(long, value_name = "TIME", value_parser = ttl)]
    ttl: Option<Duration>,
}

/// What token to revoke.
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    /// Its id, as `token list` shows it
    id: String,
}

/// A token as JSON.
#[derive(Debug, Serialize)]
struct TokenJson {
    id: String,
    name: String,
    role: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct Made<'a> {
    id: &'a str,
    token: &'a str,
}

#[derive(Debug, Serialize)]
struct Revoked<'a> {
    id: &'a str,
    revoked: bool,
}

impl From<TokenInfo> for TokenJson {
    fn from(info: TokenInfo) -> Self {
        let expires_at = info.expires_at.map(|at| at.to_string());
        Self { id: info.id, name: info.name, role: info.role.to_string(), expires_at }
    }
}

impl From<TokenHead> for TokenJson {
    fn from(head: TokenHead) -> Self {
        let expires_at = head.expires_at.map(|us| Timestamp::from_micros(us).to_string());
        Self { id: head.id, name: head.name, role: head.role, expires_at }
    }
}

/// A length of time such as `30d`.
fn ttl(text: &str) -> Result<Duration, String> {
    let bad = || "write a number and s, m, h, or d, as in 30d".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(bad)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(bad()),
    };
    let number: u64 = number.parse().map_err(|_| bad())?;
    // A century is as good as never, and can be added to any time.
    let most = 36_500 * 86_400;
    match number.checked_mul(seconds) {
        Some(seconds) if (1..=most).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err("1s to 36500d; leave it out for a token that does not end".to_owned()),
    }
}

/// Runs a command of the noun.
///
/// # Errors
/// When it is not allowed, or the directory or server cannot be reached.
pub(crate) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Create(args) => create(args, place, output),
        Command::List => list(place, output),
        Command::Revoke(args) => revoke(&args.id, place, output),
    }
}

/// A data directory without a server.
fn open(place: &Place) -> Result<Node, Failure> {
    Ok(Node::over(nexus_engine::Engine::options().create(false).open(place.dir()?)?)?)
}

fn close(node: Node) -> Result<(), Failure> {
    node.close().map_err(|error| Failure::failed(error.to_string()))
}

fn create(args: &CreateArgs, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let (id, token) = match Store::connect(place)? {
        Some(remote) => {
            let made = remote.client.create_token(&args.name, args.role.as_str(), args.ttl);
            let (head, token) = remote.wait(made)?;
            (head.id, token)
        }
        None => {
            let node = open(place)?;
            let made = node.create_token(&Principal::local(), &args.name, args.role, args.ttl)?;
            close(node)?;
            (made.info.id, made.token)
        }
    };
    let facts = Facts::new().with("id", &*id).with("token", &*token);
    output.one(&Made { id: &id, token: &token }, &facts)
}

fn list(place: &Place, output: &mut Output) -> Result<(), Failure> {
    let tokens: Vec<TokenJson> = match Store::connect(place)? {
        Some(remote) => {
            let tokens = remote.wait(remote.client.tokens())?;
            tokens.into_iter().map(TokenJson::from).collect()
        }
        None => {
            let engine = nexus_engine::Engine::options().create(false).read_only(true);
            let node = Node::over(engine.open(place.dir()?)?)?;
            let tokens = node.list_tokens(&Principal::local())?;
            close(node)?;
            tokens.into_iter().map(TokenJson::from).collect()
        }
    };
    let columns = [text("ID"), text("NAME"), text("ROLE"), text("ENDS")];
    let mut listing = output.list("tokens", &columns);
    for token in &tokens {
        listing.push(token, || {
            let ends = token.expires_at.clone().unwrap_or_else(|| "never".to_owned());
            vec![token.id.clone(), token.name.clone(), token.role.clone(), ends]
        })?;
    }
    listing.end(None::<u64>)
}

fn revoke(id: &str, place: &Place, output: &mut Output) -> Result<(), Failure> {
    match Store::connect(place)? {
        Some(remote) => remote.wait(remote.client.revoke_token(id))?,
        None => {
            let node = open(place)?;
            node.revoke_token(&Principal::local(), id)?;
            close(node)?;
        }
    }
    let facts = Facts::new().with("id", id).with("revoked", "yes");
    output.one(&Revoked { id, revoked: true }, &facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(ttl(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "d", "30", "30w", "-1d", "0s", "99999d", "99999999999999999999d", "1µ"] {
            assert!(ttl(text).is_err(), "{text}");
        }
    }
}
