//! PostgreSQL: a table with an index of words, and indexes of the other columns.
//!
//! It is the only peer that refuses to run as the system's administrator, so it is run as somebody else there.

use std::ffi::OsStr;
use std::hint::black_box;
use std::path::Path;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures_util::SinkExt;
use futures_util::future::try_join;
use nexus_cli::measuring::{Failure, Kind, Peer, Purchase, Question};
use rustix::process::geteuid;
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::{Searches, free_port, refused};
use crate::program::{Program, Says, Server, User};

const POSTGRES: &str = "PostgreSQL";
/// As in the names of scenarios.
pub(crate) const NAME: &str = "postgres";
const USER: &str = "bench";
/// Whom it runs as where this program is run by the system's administrator.
const USERS: [&str; 2] = ["postgres", "nobody"];
/// Starts that are tried: each port is free when it is chosen, and perhaps not any more when it is taken.
const STARTS: usize = 5;
/// Bytes that are copied to it at a time.
const COPY_BYTES: usize = 256 * 1024;

/// What differs from how it is installed: memory for a machine of some gigabytes, and the best plan each time.
const SETTINGS: [&str; 10] = [
    "unix_socket_directories=",
    "shared_buffers=1GB",
    "effective_cache_size=8GB",
    "work_mem=64MB",
    "maintenance_work_mem=512MB",
    "max_wal_size=8GB",
    "random_page_cost=1.1",
    "plan_cache_mode=force_custom_plan",
    "jit=off",
    "autovacuum=off",
];

const TABLE: &str = "CREATE TABLE purchases (order_id text PRIMARY KEY, status text, customer_id bigint, country text, \
                     sku text, quantity bigint, total_cents bigint, note text, \
                     words tsvector GENERATED ALWAYS AS (to_tsvector('simple', note)) STORED)";
const COPY: &str = "COPY purchases (order_id, status, customer_id, country, sku, quantity, total_cents, note) FROM STDIN";
const INDEXES: &str = "CREATE INDEX ON purchases USING gin (words); \
                       CREATE INDEX ON purchases (status); \
                       CREATE INDEX ON purchases (customer_id); \
                       CREATE INDEX ON purchases (country, total_cents DESC); \
                       CREATE INDEX ON purchases (sku); \
                       CREATE INDEX ON purchases (quantity); \
                       CREATE INDEX ON purchases (total_cents)";
const COLUMNS: &str = "order_id, status, customer_id, country, sku, quantity, total_cents, note";

/// What is said of it in the conditions.
pub(crate) fn about(version: String) -> Peer {
    Peer {
        name: POSTGRES.to_owned(),
        version,
        sync: "fsync and synchronous_commit on, as by default: on disk before its answer"
            .to_owned(),
        clients: format!(
            "the crate `tokio-postgres`, TCP without TLS, prepared statements; {}",
            SETTINGS[1..].join(", ")
        ),
    }
}

/// A server of PostgreSQL.
pub(crate) struct Postgres {
    client: Client,
    /// In the order of [`Kind::ALL`].
    pairs: Vec<Pair>,
    /// Speaks for the client, as long as it is there.
    _connection: JoinHandle<()>,
    _server: Server,
}

fn failed(error: tokio_postgres::Error) -> Failure {
    // What the server says stands in the source of the error alone.
    let said = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
    refused(POSTGRES)(&said)
}

/// A page of documents, and their count, are two statements that are asked for at once.
struct Pair {
    page: Statement,
    count: Statement,
}

impl Pair {
    async fn prepare(client: &Client, kind: Kind) -> Result<Self, Failure> {
        let words = "words @@ to_tsquery('simple', $1)";
        let (condition, order) = match kind {
            Kind::Term => (words.to_owned(), "ts_rank(words, to_tsquery('simple', $1)) DESC, "),
            Kind::Phrase => (
                "words @@ phraseto_tsquery('simple', $1)".to_owned(),
                "ts_rank(words, phraseto_tsquery('simple', $1)) DESC, ",
            ),
            Kind::Range => ("total_cents BETWEEN $1 AND $2".to_owned(), ""),
            Kind::Bool => (
                format!("{words} AND country = $2 AND status <> $3"),
                "ts_rank(words, to_tsquery('simple', $1)) DESC, ",
            ),
            Kind::Sorted => ("country = $1".to_owned(), "total_cents DESC, "),
        };
        let from = format!("FROM purchases WHERE {condition}");
        let page = format!("SELECT {COLUMNS} {from} ORDER BY {order}order_id LIMIT 10");
        let count = format!("SELECT count(*) {from}");
        let both = try_join(client.prepare(&page), client.prepare(&count));
        let (page, count) = both.await.map_err(failed)?;
        Ok(Self { page, count })
    }
}

impl Postgres {
    /// Makes a cluster in a new folder, and starts it.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn start(program: &Program, dir: &Path) -> Result<Self, Failure> {
        let no = |error: std::io::Error| refused(POSTGRES)(&format!("{}: {error}", dir.display()));
        std::fs::create_dir_all(dir).map_err(no)?;
        let user = if geteuid().is_root() { User::first_of(&USERS) } else { None };
        if let Some(User { uid, gid }) = user {
            std::os::unix::fs::chown(dir, Some(uid), Some(gid)).map_err(no)?;
        }
        let (program, data) = (program.run_as(user), dir.join("data"));
        let words = ["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C"];
        let words = words.iter().map(OsStr::new);
        let words: Vec<_> = words.chain([OsStr::new("--pgdata"), data.as_os_str()]).collect();
        program.beside("initdb")?.run(&words, dir)?;
        let mut tried = Err(refused(POSTGRES)(&"it was not started"));
        for _ in 0..STARTS {
            let port = free_port()?;
            tried = serve(&program, &data, port).map(|server| (server, port));
            if tried.is_ok() {
                break;
            }
        }
        let (server, port) = tried?;
        let mut config = Config::new();
        config.host("127.0.0.1").port(port).user(USER).dbname("postgres");
        let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
        // What goes wrong on it is said to whoever asks.
        let connection = tokio::spawn(async move { drop(connection.await) });
        client.batch_execute(TABLE).await.map_err(failed)?;
        let mut pairs = Vec::with_capacity(Kind::ALL.len());
        for kind in Kind::ALL {
            pairs.push(Pair::prepare(&client, kind).await?);
        }
        Ok(Self { client, pairs, _connection: connection, _server: server })
    }
}

fn serve(program: &Program, data: &Path, port: u16) -> Result<Server, Failure> {
    let port = port.to_string();
    let mut words = vec![OsStr::new("-D"), data.as_os_str(), OsStr::new("-p"), OsStr::new(&port)];
    words.extend(["-h", "127.0.0.1"].map(OsStr::new));
    words.extend(SETTINGS.iter().flat_map(|it| ["-c", it]).map(OsStr::new));
    let is_ready =
        |line: &str| line.contains("database system is ready to accept connections").then_some(());
    program.start(&words, Says::Error, is_ready).map(|(server, ())| server)
}

/// A line of COPY: nothing in it has to be escaped.
fn line(purchase: &Purchase) -> String {
    let Purchase { order_id, status, customer_id, country, sku, quantity, total_cents, note } =
        purchase;
    format!(
        "{order_id}\t{status}\t{customer_id}\t{country}\t{sku}\t{quantity}\t{total_cents}\t{note}\n"
    )
}

impl Searches for Postgres {
    async fn load(&self, documents: u64) -> Result<(), Failure> {
        {
            let mut copied = pin!(self.client.copy_in(COPY).await.map_err(failed)?);
            let mut lines = BytesMut::with_capacity(COPY_BYTES);
            for number in 0..documents {
                lines.extend_from_slice(line(&Purchase::numbered(number)).as_bytes());
                if lines.len() >= COPY_BYTES {
                    copied.send(lines.split().freeze()).await.map_err(failed)?;
                }
            }
            copied.send(Bytes::from(lines)).await.map_err(failed)?;
            copied.as_mut().finish().await.map_err(failed)?;
        }
        self.client.batch_execute(INDEXES).await.map_err(failed)?;
        self.client.batch_execute("VACUUM ANALYZE purchases").await.map_err(failed)
    }

    async fn ask(&self, question: &Question) -> Result<u64, Failure> {
        let phrase = match question {
            Question::Phrase([first, second]) => format!("{first} {second}"),
            _ => String::new(),
        };
        let parameters: Vec<&(dyn ToSql + Sync)> = match question {
            Question::Term(word) => vec![word],
            Question::Phrase(_) => vec![&phrase],
            Question::Range(from, to) => vec![from, to],
            Question::Bool { word, country, not } => vec![word, country, not],
            Question::Sorted(country) => vec![country],
        };
        let index = Kind::ALL.iter().position(|kind| *kind == question.kind());
        let pair = index.and_then(|index| self.pairs.get(index));
        let Pair { page, count } = pair.ok_or_else(|| refused(POSTGRES)(&"no statements"))?;
        let both = try_join(
            self.client.query(page, &parameters),
            self.client.query_one(count, &parameters),
        );
        let (page, count) = both.await.map_err(failed)?;
        for row in &page {
            black_box(row.try_get::<_, String>("note").map_err(failed)?);
        }
        let count: i64 = count.try_get(0).map_err(failed)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn bytes(&self) -> Result<u64, Failure> {
        let size = "SELECT pg_total_relation_size('purchases')";
        let size: i64 =
            self.client.query_one(size, &[]).await.map_err(failed)?.try_get(0).map_err(failed)?;
        Ok(u64::try_from(size).unwrap_or(0))
    }
}
