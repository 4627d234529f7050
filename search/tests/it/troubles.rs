//! Disks that are full, and syncs that fail: said, and gone on with by opening again.

use nexus_delivery::projection::{Sink, SinkError};
use nexus_search::KvSink;

use crate::disk::{Disk, Forgets, Kill};
use crate::model::{Model, Shown};
use crate::random::{Random, seeds_or};

#[test]
fn a_full_disk_is_said_and_gone_on_with() {
    let (mut refused, mut opened) = (0, 0);
    for seed in 0..seeds_or(30) {
        let mut random = Random::new(seed);
        let (disk, mut model) = (Disk::default(), Model::new());
        let mut sink = KvSink::over(disk.open()).unwrap();
        let mut room = disk.blocks() + random.index(20);
        disk.limit(Some(room));
        for step in 0..200 {
            let planned = model.plan(400, &mut random);
            match planned.make(&mut sink) {
                Ok(()) => {
                    model.made(planned);
                    continue;
                }
                Err(SinkError::Full) => model.perhaps_made(planned),
                Err(other) => panic!("seed {seed}, step {step}: {other:?}"),
            }
            refused += 1;
            drop(sink);
            // Still full at first: it can be opened all the same, or says so.
            sink = loop {
                match KvSink::over(disk.open()) {
                    Ok(sink) => break sink,
                    Err(SinkError::Full) => room += 1,
                    Err(other) => panic!("seed {seed}, step {step}: {other:?}"),
                }
                disk.limit(Some(room));
            };
            opened += 1;
            model.found(&Shown::of(&sink, &mut random).unwrap(), &format!("seed {seed}"));
            room += random.index(20);
            disk.limit(Some(room));
        }
    }
    assert!(refused > 100, "{refused} refused, {opened} opened");
    println!("count: sinks_full {refused}");
}

#[test]
fn a_full_disk_has_no_room_for_a_new_file() {
    let disk = Disk::default();
    disk.limit(Some(0));
    assert_eq!(KvSink::over(disk.open()).map(drop), Err(SinkError::Full));
}

/// After a failed sync nothing is sure but that what is opened is a commit. Where the kernel forgets what it could not write,
/// that shows only when the machine was switched off, and then as damage.
#[test]
fn a_sync_that_fails_is_said_and_never_believed() {
    let (mut failed, mut damaged) = (0, 0);
    for seed in 0..seeds_or(60) {
        let mut random = Random::new(seed);
        let (disk, mut model) = (Disk::default(), Model::new());
        let mut history = vec![Shown::default()];
        let forgets = if random.one_in(2) { Forgets::All } else { Forgets::Nothing };
        let mut sink = KvSink::over(disk.open()).unwrap();
        for step in 0..60 {
            let planned = model.plan(300, &mut random);
            let fails = planned.durable && random.one_in(3);
            if fails {
                disk.fail_sync(forgets);
            }
            history.push(planned.after.clone());
            match planned.make(&mut sink) {
                Ok(()) => model.made(planned),
                Err(SinkError::Unavailable(_)) if fails => {
                    failed += 1;
                    model.perhaps_made(planned);
                    drop(sink);
                    sink = KvSink::over(disk.open()).unwrap();
                    model.found(&Shown::of(&sink, &mut random).unwrap(), &format!("seed {seed}"));
                }
                Err(other) => panic!("seed {seed}, step {step}: {other:?}"),
            }
        }
        disk.kill(Kill::Machine, &mut random);
        drop(sink);
        match KvSink::over(disk.open()) {
            Ok(sink) => {
                let shown = Shown::of(&sink, &mut random).unwrap();
                assert!(history.contains(&shown), "seed {seed}: found what was never committed");
                if forgets == Forgets::Nothing {
                    model.found(&shown, &format!("seed {seed}"));
                }
            }
            Err(SinkError::Damaged(_)) if forgets == Forgets::All => damaged += 1,
            Err(other) => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(failed > 60 && damaged > 0, "{failed} failed, {damaged} damaged");
    println!("count: sink_syncs_failed {failed}");
}

/// A read that fails is said, and so is what follows, until it is opened again.
#[test]
fn a_disk_that_is_gone_is_not_available() {
    let disk = Disk::default();
    let (mut model, mut random) = (Model::new(), Random::new(1));
    let mut sink = KvSink::over(disk.open()).unwrap();
    let mut planned = model.plan(50, &mut random);
    planned.durable = true;
    planned.make(&mut sink).unwrap();
    let after = planned.after.clone();
    model.made(planned);
    disk.die_in(1);
    let mut planned = model.plan(50, &mut random);
    planned.durable = true;
    for _ in 0..2 {
        let refused = planned.make(&mut sink);
        assert!(matches!(refused, Err(SinkError::Unavailable(_))), "{refused:?}");
    }
    disk.kill(Kill::Process, &mut random);
    drop(sink);
    let sink = KvSink::over(disk.open()).unwrap();
    assert_eq!(sink.checkpoint().unwrap(), after.checkpoint);
}
