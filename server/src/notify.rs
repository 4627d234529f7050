//! What systemd wants to know (`sd_notify`): that the service is ready, and that it is ending. Without
//! `NOTIFY_SOCKET` nobody wants to know anything.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The server is ready.
pub fn ready() {
    tell("READY=1");
}

/// The server is ending.
pub fn stopping() {
    tell("STOPPING=1");
}

fn tell(what: &str) {
    let Some(path) = std::env::var("NOTIFY_SOCKET").ok().filter(|path| !path.is_empty()) else {
        return;
    };
    // A path that begins with `@` names an abstract socket.
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let told =
        UnixDatagram::unbound().and_then(|socket| socket.send_to_addr(what.as_bytes(), &address?));
    if let Err(error) = told {
        tracing::warn!(%error, path, "systemd was not told: {what}");
    }
}
