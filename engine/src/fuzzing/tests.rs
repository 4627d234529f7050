//! The checks hold for real encodings, and for these with any one byte changed.

use super::seeds::seeds;
use super::*;

fn check_of(target: &str) -> Option<fn(&[u8])> {
    Some(match target {
        "frame" => frame,
        "manifest" => manifest,
        "node_state" => node_state,
        "segment_header" => segment_header,
        "index_file" => index_file,
        "blocks" => blocks,
        _ => return None,
    })
}

#[test]
fn every_check_holds_for_what_a_log_wrote_and_for_its_mutations() {
    let seeds = seeds();
    for target in ["frame", "manifest", "node_state", "segment_header", "index_file", "blocks"] {
        assert!(seeds.iter().any(|seed| seed.target == target), "{target} has a seed");
    }
    for seed in seeds {
        let Some(check) = check_of(seed.target) else { continue };
        check(&seed.bytes);
        check(&[]);
        let stride = 1 + seed.bytes.len() / 100;
        for at in (0..seed.bytes.len()).step_by(stride) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = seed.bytes.clone();
                bytes[at] = value;
                check(&bytes);
            }
            check(&seed.bytes[..at]);
        }
    }
}

/// Writes what `fuzz/corpus/` holds of it, where `NEXUS_FUZZ_SEEDS` says; see `fuzz/README.md`.
#[test]
#[expect(clippy::disallowed_methods, reason = "seeds go where no log is")]
fn seeds_are_small_and_are_written_where_asked() {
    let seeds = seeds();
    assert!(seeds.iter().map(|seed| seed.bytes.len()).sum::<usize>() < 100_000);
    let Some(folder) = std::env::var_os("NEXUS_FUZZ_SEEDS") else { return };
    for seed in seeds {
        let folder = Path::new(&folder).join(seed.target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(seed.name), seed.bytes).unwrap();
    }
}
