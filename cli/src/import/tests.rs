//! The command as a whole, but for the store.

use super::*;

fn args(list: &[&str]) -> Args {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    <Line as clap::Parser>::parse_from([&["import"], list].concat()).args
}

#[test]
fn templates_are_read_from_the_flags() {
    let list = ["a.csv", "--stream", "permit-{case:id}", "--type", "{name}", "--tag", "g:{a:b}"];
    let mapping = mapping_of(&args(&list)).unwrap().unwrap();
    assert_eq!(mapping.stream.to_string(), "--stream 'permit-{case:id}'");
    assert_eq!(mapping.tags.len(), 1);
    assert!(mapping_of(&args(&["a.ndjson"])).unwrap().is_none());
}

#[test]
fn a_stream_needs_a_type_and_templates_their_braces() {
    let failure = mapping_of(&args(&["a.csv", "--stream", "a"])).unwrap_err();
    assert!(format!("{failure:?}").contains("--stream needs --type"), "{failure:?}");
    let failure = mapping_of(&args(&["a.csv", "--stream", "a{", "--type", "b"])).unwrap_err();
    assert!(format!("{failure:?}").contains("never closed"), "{failure:?}");
}
