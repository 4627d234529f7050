//! Consumers in processes of their own that are killed and stopped at random, and their server with them: each event
//! is done exactly once, and those of a key in their order.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nexus_client::Client;
use nexus_protocol::group::{Backoff, GroupConfig};
use nexus_protocol::{Append, EventData, Filter, Read, Subscribe};
use nexus_testing::executor::next;
use nexus_testing::{Random, address_to_keep};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

use crate::nexus::Folder;
use crate::serve::Serving;

const CONSUMERS: usize = 8;
const KEYS: u64 = 1_000;
/// Times that somebody is killed, stopped, or let go on.
const DEEDS: u64 = 40;
/// Nothing takes so long, not even what a consumer had that was killed.
const SOON: Duration = Duration::from_secs(60);

/// A consumer that is killed with the test.
struct Working {
    name: String,
    child: Child,
    stopped: bool,
}

impl Working {
    fn start(serving: &Serving, name: String) -> Self {
        let mut command: Command = serving.command();
        command.args(["load", "--group", "work", "--consumer", &name]);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        Self { name, child, stopped: false }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How often what was done.
#[derive(Debug, Default)]
struct Deeds {
    killed: u64,
    stopped: u64,
    servers: u64,
}

/// Does something to one of them.
fn disturb(working: &mut [Working], serving: &Serving, random: &mut Random, deeds: &mut Deeds) {
    let at = random.below(working.len() as u64);
    let one = &mut working[usize::try_from(at).unwrap()];
    if one.stopped {
        // It goes on with what others have by now.
        one.signal(Signal::CONT);
        one.stopped = false;
    } else if random.one_in(2) {
        one.signal(Signal::STOP);
        one.stopped = true;
        deeds.stopped += 1;
    } else {
        let name = one.name.clone();
        *one = Working::start(serving, name);
        deeds.killed += 1;
    }
    // Somebody has to do it.
    if working.iter().all(|it| it.stopped) {
        for one in working {
            one.signal(Signal::CONT);
            one.stopped = false;
        }
    }
}

fn server(folder: &Folder, address: &str) -> Serving {
    Serving::start(folder, &["--dev", "--listen", address])
}

async fn fill(client: &Client, numbers: std::ops::Range<u64>) {
    let numbers: Vec<_> = numbers.collect();
    for part in numbers.chunks(500) {
        let append = part.iter().fold(Append::new(), |append, number| {
            let event = EventData::json("Asked", &(number / KEYS)).unwrap();
            append.stream(format!("key-{}", number % KEYS)).event(event)
        });
        client.append(append).await.unwrap();
    }
}

#[test]
fn what_consumers_that_die_or_sleep_do_is_done_once_and_in_order() {
    let given = std::env::var("NEXUS_CHAOS_EVENTS").ok().and_then(|events| events.parse().ok());
    let events: u64 = given.unwrap_or(20_000);
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let (mut random, mut deeds) = (Random::new(seed), Deeds::default());
    let (folder, address) = (Folder::new(), address_to_keep().to_string());
    let mut serving = server(&folder, &address);
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(nexus_client::connect(&serving.url())).unwrap();
    let config = GroupConfig {
        filter: Filter::category("key"),
        lanes: 64,
        ack_deadline: Duration::from_secs(2),
        max_attempts: 1_000,
        backoff: Backoff { initial: Duration::from_millis(1), max: Duration::from_millis(10) },
        ..GroupConfig::default()
    };
    runtime.block_on(async {
        fill(&client, 0..events).await;
        client.set_group("work", &config).await.unwrap();
    });
    let name = |number: usize| format!("consumer-{number}");
    let mut working: Vec<_> =
        (0..CONSUMERS).map(|number| Working::start(&serving, name(number))).collect();
    let mut results = client.subscribe(Subscribe::all().filter(Filter::event_type("Done")));
    let mut done = 0;
    let mut wait_for = |count: u64| {
        runtime.block_on(async {
            while done < count {
                let item = tokio::time::timeout(SOON, next(&mut results)).await;
                let item = item.unwrap_or_else(|_| panic!("{done} of {count} are done"));
                done += u64::from(item.unwrap().unwrap().event().is_some());
            }
        });
    };
    for deed in 1..=DEEDS {
        wait_for(events * deed / (DEEDS + 1));
        if deed.is_multiple_of(DEEDS / 4) {
            drop(serving);
            serving = server(&folder, &address);
            deeds.servers += 1;
        } else {
            disturb(&mut working, &serving, &mut random, &mut deeds);
        }
    }
    wait_for(events);
    // Who was stopped all the time says now what counts no more; then all of them do something new.
    working.iter().for_each(|it| it.signal(Signal::CONT));
    runtime.block_on(fill(&client, events..events + KEYS));
    wait_for(events + KEYS);
    let info = runtime.block_on(client.group("work")).unwrap();
    assert_eq!((info.lag_events, info.parked), (0, 0), "{info:?}");
    drop(working);
    check(&client, &runtime, events + KEYS);
    println!("count: chaos_events {}", events + KEYS);
    println!("count: chaos_consumers_killed {}", deeds.killed);
    println!("count: chaos_consumers_stopped {}", deeds.stopped);
    println!("count: chaos_servers_killed {}", deeds.servers);
}

/// Each key has a result of each of its events, in their order.
fn check(client: &Client, runtime: &Runtime, events: u64) {
    let mut results: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    runtime.block_on(async {
        let mut all = client.read(Read::all().filter(Filter::event_type("Done")));
        while let Some(event) = next(&mut all).await {
            let event = event.unwrap();
            results.entry(event.stream().to_owned()).or_default().push(event.json().unwrap());
        }
    });
    assert_eq!(results.len() as u64, KEYS);
    for (stream, numbers) in &results {
        let key: u64 = stream.rsplit('-').next().unwrap().parse().unwrap();
        let of_key = (0..events).filter(|number| number % KEYS == key);
        let expected: Vec<_> = of_key.map(|number| number / KEYS).collect();
        assert_eq!(*numbers, expected, "{stream}");
    }
}
