//! Bits that flip while nobody looks, files that are cut or longer, pages that are gone: what is opened then is a commit,
//! or damaged, and never anything else.

use nexus_delivery::projection::{Sink, SinkError};
use nexus_search::KvSink;

use crate::disk::{Disk, Kill};
use crate::model::{Model, Planned, Shown};
use crate::random::Random;

/// A file, and all that was ever committed to it.
struct Written {
    bytes: Vec<u8>,
    history: Vec<Shown>,
    model: Model,
}

/// Writes a file with several pages of documents, and closes it or not.
fn written(seed: u64, is_closed: bool) -> Written {
    let mut random = Random::new(seed);
    let (disk, mut model) = (Disk::default(), Model::new());
    let mut history = vec![Shown::default()];
    let mut sink = KvSink::over(disk.open()).unwrap();
    for step in 0..60 {
        let mut planned: Planned = model.plan(500, &mut random);
        planned.durable |= step == 55;
        planned.make(&mut sink).unwrap();
        history.push(planned.after.clone());
        model.made(planned);
    }
    if !is_closed {
        disk.kill(Kill::Process, &mut random);
    }
    drop(sink);
    Written { bytes: disk.bytes(), history, model }
}

#[derive(Debug, Default)]
struct Counts {
    damaged: u64,
    right: u64,
    older: u64,
}

impl Counts {
    fn print(&self) {
        println!("count: files_damaged {}", self.damaged);
        println!("count: files_right {}", self.right);
        println!("count: files_right_of_an_earlier_commit {}", self.older);
    }
}

impl Written {
    /// Opens what has become of the file, and goes on with it.
    fn check(&self, bytes: Vec<u8>, random: &mut Random, counts: &mut Counts, what: &str) {
        let opened = KvSink::over(Disk::with(bytes).open());
        let mut sink = match opened {
            Ok(sink) => sink,
            Err(SinkError::Damaged(_)) => {
                counts.damaged += 1;
                return;
            }
            Err(other) => panic!("{what}: {other:?}"),
        };
        let shown = Shown::of(&sink, random).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(self.history.contains(&shown), "{what}: found what was never committed");
        counts.right += 1;
        counts.older += u64::from(!self.model.history().contains(&shown));
        let mut model = Model::new();
        let mut planned = model.plan(100, random);
        planned.after.next = shown.next;
        planned.make(&mut sink).unwrap();
        for changed in &planned.changed {
            assert_eq!(sink.get(&changed.key).unwrap(), changed.document, "{what}");
        }
    }
}

fn each_file(mut check: impl FnMut(&Written, &mut Random, &mut Counts, &str)) -> Counts {
    let mut counts = Counts::default();
    for (seed, is_closed) in [(1, true), (2, false), (3, true), (4, false)] {
        let written = written(seed, is_closed);
        let mut random = Random::new(seed);
        check(&written, &mut random, &mut counts, &format!("seed {seed}, closed {is_closed}"));
    }
    counts
}

#[test]
fn every_bit_of_the_header() {
    let step = if cfg!(debug_assertions) { 3 } else { 1 };
    let counts = each_file(|written, random, counts, what| {
        for bit in (0..330 * 8).step_by(step) {
            let mut bytes = written.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            written.check(bytes, random, counts, &format!("{what}, bit {bit}"));
        }
    });
    assert!(counts.damaged > 100 && counts.right > 100, "{counts:?}");
    counts.print();
}

#[test]
fn any_bits() {
    let times = if cfg!(debug_assertions) { 400 } else { 4_000 };
    let counts = each_file(|written, random, counts, what| {
        for time in 0..times {
            let mut bytes = written.bytes.clone();
            for _ in 0..=random.below(3) {
                let at = random.index(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            written.check(bytes, random, counts, &format!("{what}, time {time}"));
        }
    });
    assert!(counts.damaged > 100 && counts.right > 100, "{counts:?}");
    counts.print();
}

#[test]
fn pages_that_are_gone_or_are_others() {
    let counts = each_file(|written, random, counts, what| {
        let pages = written.bytes.len() / 4096;
        for page in 0..pages {
            let (from, to) = (page * 4096, page * 4096 + 4096);
            let other = random.index(pages) * 4096;
            let mut gone = written.bytes.clone();
            gone[from..to].fill(0);
            written.check(gone, random, counts, &format!("{what}, page {page} is gone"));
            let mut moved = written.bytes.clone();
            moved.copy_within(other..other + 4096, from);
            written.check(moved, random, counts, &format!("{what}, page {page} is {other}"));
        }
    });
    assert!(counts.damaged > 50 && counts.right > 10, "{counts:?}");
    counts.print();
}

#[test]
fn files_that_are_cut_or_longer() {
    let counts = each_file(|written, random, counts, what| {
        let mut lengths: Vec<usize> = (0..40).map(|_| random.index(written.bytes.len())).collect();
        lengths.extend((0..written.bytes.len()).step_by(4096).skip(1));
        lengths.extend([1, 8, 9, 10, 63, 64, 319, 320, 321, 4095, 4097]);
        for length in lengths {
            let cut = written.bytes[..length].to_vec();
            written.check(cut, random, counts, &format!("{what}, cut to {length}"));
        }
        for more in [1, 512, 4096, 5000, 1 << 20] {
            let mut bytes = written.bytes.clone();
            bytes.resize(bytes.len() + more, u8::try_from(random.below(256)).unwrap());
            written.check(bytes, random, counts, &format!("{what}, {more} bytes more"));
        }
    });
    assert!(counts.damaged > 100, "{counts:?}");
    counts.print();
}

/// Under an open file only what has a checksum of its own is found to be damaged. What is found is never what was not
/// committed.
#[test]
fn bits_under_an_open_file() {
    let (mut damaged, mut right, mut hidden) = (0, 0, 0);
    for (seed, is_closed) in [(1, true), (2, false), (3, true), (4, false)] {
        let written = written(seed, is_closed);
        let mut random = Random::new(seed);
        for time in 0..100 {
            let disk = Disk::with(written.bytes.clone());
            let sink = KvSink::over(disk.open()).unwrap();
            let newest = &Shown::of(&sink, &mut random).unwrap();
            drop(sink);
            let sink = KvSink::over(disk.open()).unwrap();
            disk.flip(200, &mut random);
            for (key, kept) in &newest.documents {
                let was = || written.history.iter().map(|shown| shown.documents.get(key));
                match sink.get(key) {
                    Ok(Some(found)) if found == *kept => right += 1,
                    Ok(Some(found)) => assert!(
                        was().any(|kept| kept == Some(&found)),
                        "seed {seed}, time {time}: {key} is {found:?}"
                    ),
                    Ok(None) => hidden += 1,
                    Err(_) => damaged += 1,
                }
            }
        }
    }
    assert!(damaged > 100 && right > 100, "{damaged} damaged, {right} right, {hidden} hidden");
}
