//! The set `server`: a server on this machine, spoken to over loopback.
//!
//! The server is a child process, so that what it uses is told apart from what its clients use, which
//! live in this one; both share the processors. Raw QUIC, which figures are compared with, is answered
//! by a child too. Or the server is one that runs already: then what only its own process could tell
//! (processor time, memory, sealed segments) is not measured.

pub(super) mod appends;
mod cpu;
pub(super) mod drive;
mod http;
mod live;
pub(super) mod process;
mod raw;
pub(super) mod reads;
pub(super) mod subject;

use nexus_client::Address;

use super::conditions::Conditions;
use super::{Bench, Entry};

pub(super) use raw::serve as serve_raw;

/// Scenarios of a server.
pub(super) const ENTRIES: [Entry; 8] = [
    Entry {
        names: &["append-1x1"],
        goals: &["1 client, batch 1: p50 at most raw sync p50 + 1.5 x raw QUIC round trip p50"],
        run: Bench::quic_one,
    },
    Entry {
        names: &["append-32x1", "append-32x1/one-connection"],
        goals: &[
            "32 connections, batch 1: at least 60,000 events/s, 60 % of embedded, or 70 % of a raw echo, \
             the lowest",
            "the same 32 writers on one connection: no less than that target",
        ],
        run: Bench::quic_many,
    },
    Entry {
        names: &["append-8x100"],
        goals: &["8 clients, batch 100: at least 800,000 events/s"],
        run: Bench::quic_batches,
    },
    Entry {
        names: &["append-4x1000"],
        goals: &[
            "4 clients, batch 1,000: at least 1,000,000 events/s or 60 % of raw QUIC bulk, the lower",
        ],
        run: Bench::quic_large_batches,
    },
    Entry {
        names: &["catch-up", "catch-up/sealed", "stream-100", "stream-100/8-readers"],
        goals: &[
            "a subscriber from the beginning of 1,000,000 events: at least 1,500,000 events/s or 60 % of \
             raw QUIC bulk, the lower",
            "the same over compressed segments: at least 3,000,000 events/s",
            "100 events of one of 10,000 streams, 1 reader: at least 10,000 reads/s",
            "8 readers on 8 connections: at least 25,000 reads/s",
        ],
        run: Bench::server_reads,
    },
    Entry {
        names: &["live", "live/1000", "live/1000-rate", "live/1000-memory"],
        goals: &[
            "1 subscriber: p50 from acknowledgement to delivery at most 1,000 us",
            "1,000 subscribers on 10 connections, 100 events/s: p50 at most 15,000 us",
            "the same, as fast as it goes: at least 100,000 deliveries/s",
            "the same: the server's memory grows by at most 64 KiB a subscriber",
        ],
        run: Bench::live,
    },
    Entry {
        names: &["http-append"],
        goals: &["64 connections, batch 1, HTTP/1.1: at least 15,000 durable appends/s"],
        run: Bench::http_appends,
    },
    Entry {
        names: &["cpu-quic", "cpu-http", "cpu-embedded"],
        goals: &[
            "processor time of the server, 32 writers, batch 1, over QUIC: nothing asked, side by side",
            "the same over HTTP/1.1",
            "the same without a server: the log and its writers in one process",
        ],
        run: Bench::cpu,
    },
];

/// Says beside the figures which server was measured, and how it was spoken to.
pub(super) fn describe(conditions: &mut Conditions, server: Option<&Address>) {
    conditions.clients =
        "tasks on a runtime of this process with a thread a core; each waits for its \
                          answer before the next append, and every append has an expected revision"
            .to_owned();
    conditions.server = Some(match server {
        None => {
            "`nexus serve --dev`, a child of this process, sharing its cores; loopback".to_owned()
        }
        Some(address) => format!(
            "{address}, which ran already: backend, disk, and file system are those of --dir, and \
             perhaps not its"
        ),
    });
    let http = "HTTP/1.1, plain, one request at a time a connection";
    conditions.protocol = Some(format!("{}; {http}", protocol()));
}

/// How QUIC is spoken on either side.
pub(super) fn protocol() -> String {
    let (client, server) = (nexus_client::raw::settings(), nexus_server::raw::settings());
    format!("QUIC (client: {client}; server: {server})")
}
