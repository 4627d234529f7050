//! `nexus group consume`: one consumer, in the foreground.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nexus_client::Consumer;
use nexus_protocol::group::{Delivery, DeliveryToken, Failure as Reason, Nack, NackAction};
use nexus_protocol::json::{DeliveryJson, EventJson};
use nexus_protocol::schema::AsSchema;

use crate::exit::Failure;
use crate::filter;
use crate::output::{Format, Output, notice, reader_is_gone, text};
use crate::store::Remote;

/// How long one request for deliveries waits: also how soon it is seen that nobody reads any more.
const WAIT: Duration = Duration::from_secs(1);
/// A command may take so long.
const EXEC_TIME: Duration = Duration::from_secs(3600);
/// Bytes of what a command said on standard error that are kept as the reason.
const SAID_BYTES_MAX: usize = 2_000;

/// Who consumes, and what is done with each delivery.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The group
    group: String,
    /// The name of this consumer: the same one gets the same lanes, as far as that goes
    #[arg(long, value_name = "NAME")]
    consumer: String,
    /// Runs this command for each event, which it gets as JSON on standard input; where it fails, the event is tried
    /// again
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// Fails every so many deliveries on purpose, to see what becomes of them
    #[arg(long, value_name = "N", value_parser = filter::number)]
    fail_every: Option<u64>,
    /// Ends after so many deliveries
    #[arg(long, value_name = "N", value_parser = filter::number)]
    limit: Option<u64>,
    /// Ends when nothing came for so long
    #[arg(long, value_name = "TIME", value_parser = nexus_protocol::duration_from_text)]
    until_idle: Option<Duration>,
    /// So many deliveries at a time; 100, or 1 with --exec, unless it is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    batch: Option<u64>,
    /// In a version of their schemas: raw, as they are stored, latest, or a number
    #[arg(long, value_name = "raw|latest|N", default_value = "raw")]
    as_schema: AsSchema,
}

/// What was done.
#[derive(Debug, Default)]
struct Counts {
    deliveries: u64,
    acked: u64,
    failed: u64,
    refused: u64,
}

/// Consumes until there is an end.
pub(super) fn run(args: &Args, remote: &Remote, output: &mut Output) -> Result<(), Failure> {
    let client = &remote.client;
    // What waits for others of its batch is late before it begins.
    let batch = args.batch.unwrap_or(if args.exec.is_some() { 1 } else { 100 });
    let prefetch = u32::try_from(batch).unwrap_or(1);
    let mut consumer =
        client.consumer(&args.group, &args.consumer).prefetch(prefetch).as_schema(args.as_schema);
    let mut counts = Counts::default();
    let mut heard = Instant::now();
    let is_listed = output.format() == Format::Table;
    if is_listed {
        let columns = [text("POSITION"), text("ATTEMPT"), text("STREAM"), text("TYPE")];
        let names: Vec<_> = columns.iter().map(|column| column.name()).collect();
        output.text(&format!("{}\n", names.join("  ")))?;
    }
    let consumed = loop {
        let left = args.limit.map_or(u64::MAX, |limit| limit - counts.deliveries.min(limit));
        if left == 0 || reader_is_gone() {
            break Ok(());
        }
        let max = usize::try_from(left.min(batch)).unwrap_or(1);
        let deliveries = match remote.wait(consumer.receive(max, WAIT)) {
            Ok(deliveries) => deliveries,
            Err(error) => break Err(error.into()),
        };
        if deliveries.is_empty() {
            match args.until_idle {
                Some(idle) if heard.elapsed() >= idle => break Ok(()),
                _ => continue,
            }
        }
        heard = Instant::now();
        let taken = take(args, remote, &mut consumer, &deliveries, (&mut counts, output));
        if taken.is_err() {
            break taken;
        }
    };
    // What it has not answered is others' at once, and does not count as tried.
    let left = remote.wait(consumer.leave());
    consumed?;
    left?;
    let Counts { deliveries, acked, failed, refused } = counts;
    notice(format_args!(
        "{deliveries} deliveries: {acked} acknowledged, {failed} failed, {refused} answered too late"
    ));
    Ok(())
}

/// Does what is to be done with some deliveries, and answers them.
fn take(
    args: &Args,
    remote: &Remote,
    consumer: &mut Consumer,
    deliveries: &[Delivery],
    (counts, output): (&mut Counts, &mut Output),
) -> Result<(), Failure> {
    let mut done = Vec::new();
    for delivery in deliveries {
        print(delivery, output)?;
        counts.deliveries += 1;
        let failed_on_purpose =
            args.fail_every.is_some_and(|every| every > 0 && counts.deliveries % every == 0);
        let reason = match (failed_on_purpose, &args.exec) {
            (true, _) => Some(Reason::new("failed on purpose, by --fail-every")),
            (false, Some(command)) => {
                // Its time is that of the command, and one that came too late is another's already.
                let more = remote.wait(consumer.extend(&[delivery.token], EXEC_TIME))?;
                if more.done == 0 {
                    counts.refused += 1;
                    continue;
                }
                executed(command, delivery)?
            }
            (false, None) => None,
        };
        let Some(failure) = reason else {
            done.push(delivery.token);
            continue;
        };
        // In order: what was done before it is told first.
        ack(remote, consumer, &mut done, counts)?;
        let nack = Nack { action: NackAction::Retry(None), failure };
        let answered = remote.wait(consumer.nack(&[delivery.token], nack))?;
        counts.failed += answered.done;
        counts.refused += answered.refused.len() as u64;
    }
    output.flush()?;
    ack(remote, consumer, &mut done, counts)
}

fn ack(
    remote: &Remote,
    consumer: &mut Consumer,
    done: &mut Vec<DeliveryToken>,
    counts: &mut Counts,
) -> Result<(), Failure> {
    if done.is_empty() {
        return Ok(());
    }
    let answered = remote.wait(consumer.ack(done))?;
    done.clear();
    counts.acked += answered.done;
    counts.refused += answered.refused.len() as u64;
    Ok(())
}

fn print(delivery: &Delivery, output: &mut Output) -> Result<(), Failure> {
    let event = &delivery.event;
    match output.format() {
        Format::Table => {
            let (stream, event_type) = (event.stream(), event.event_type());
            let line = format!(
                "{:<8}  {:<7}  {}  {}\n",
                event.position(),
                delivery.attempt,
                crate::output::printable(stream),
                crate::output::printable(event_type)
            );
            output.text(&line)
        }
        Format::Json | Format::Ndjson => output.json_line(&DeliveryJson::from(delivery)),
    }
}

/// Runs a command for a delivery; gives why it failed, if it did.
fn executed(command: &str, delivery: &Delivery) -> Result<Option<Reason>, Failure> {
    let spawned = Command::new("/bin/sh")
        .args(["-c", command])
        .env("NEXUS_ATTEMPT", delivery.attempt.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::inherit())
        .stderr(Stdio::piped())
        .spawn();
    let mut child =
        spawned.map_err(|error| Failure::failed(format!("cannot run {command:?}: {error}")))?;
    // A line for each of its parts, where transforms made several.
    let mut json = Vec::new();
    for event in delivery.events() {
        json.extend(serde_json::to_vec(&EventJson::from(event)).unwrap_or_default());
        json.push(b'\n');
    }
    // Beside reading what it says: either may be more than a pipe holds. A command that reads nothing of it is right, too.
    let stdin = child.stdin.take();
    let writing = std::thread::spawn(move || {
        let _ = stdin.map(|mut stdin| stdin.write_all(&json));
    });
    let ended = child.wait_with_output();
    let _ = writing.join();
    let ended =
        ended.map_err(|error| Failure::failed(format!("cannot wait for {command:?}: {error}")))?;
    if ended.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.trim();
    let from = said.ceil_char_boundary(said.len().saturating_sub(SAID_BYTES_MAX));
    let message = format!("the command ended with {}", ended.status);
    let chain = Some(said[from..].to_owned()).filter(|said| !said.is_empty());
    let class = "exec".to_owned();
    Ok(Some(Reason { class, message, chain: chain.into_iter().collect() }))
}
