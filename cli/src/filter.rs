//! Flags that say which events: the one filter grammar, on the command line.

use nexus_protocol::limits::DATA_BYTES_MAX;
use nexus_protocol::{Filter, FilterItem, InvalidName, names};

/// Flags of commands that read events. Values of one flag mean any of them, but all tags must be
/// there; different flags mean both.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which events")]
pub(crate) struct FilterArgs {
    /// Events of streams whose name starts so; repeatable
    #[arg(long, value_name = "PREFIX", value_parser = stream_name)]
    stream_prefix: Vec<String>,
    /// Events of streams of this category, the part of a name before its first `-`; repeatable
    #[arg(long, value_name = "CATEGORY", value_parser = stream_name)]
    category: Vec<String>,
    /// Events of this type; repeatable
    #[arg(long = "type", value_name = "TYPE", value_parser = event_type)]
    event_type: Vec<String>,
    /// Events that carry this tag, and every other one given; repeatable
    #[arg(long, value_name = "KEY:VALUE", value_parser = tag)]
    tag: Vec<String>,
    /// The system's events too
    #[arg(long)]
    pub(crate) system: bool,
}

impl FilterArgs {
    /// What the flags ask for.
    pub(crate) fn filter(&self) -> Filter {
        Filter::any([FilterItem {
            streams: Vec::new(),
            stream_prefix: self.stream_prefix.clone(),
            categories: self.category.clone(),
            types: self.event_type.clone(),
            tags: self.tag.clone(),
        }])
    }
}

/// A stream's name, or the beginning of one.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn stream_name(name: &str) -> Result<String, InvalidName> {
    names::check_stream_name(name).map(|()| name.to_owned())
}

/// An event type.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn event_type(name: &str) -> Result<String, InvalidName> {
    names::check_event_type(name).map(|()| name.to_owned())
}

/// A tag.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn tag(tag: &str) -> Result<String, InvalidName> {
    names::check_tag(tag).map(|()| tag.to_owned())
}

/// A count, a revision, or a position.
///
/// # Errors
/// When it is none.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "write a number from 0".to_owned())
}

/// How large the data of an event may be, in bytes.
///
/// # Errors
/// When no store takes so much.
pub(crate) fn data_bytes_max(text: &str) -> Result<usize, String> {
    let bytes = text.parse().ok().filter(|bytes| (1..=DATA_BYTES_MAX).contains(bytes));
    bytes.ok_or_else(|| format!("write a number of bytes from 1 to {DATA_BYTES_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flags_mean_every_event() {
        assert!(FilterArgs::default().filter().is_all());
    }

    #[test]
    fn a_limit_of_data_is_one_that_a_store_has() {
        assert_eq!(data_bytes_max("16777216"), Ok(DATA_BYTES_MAX));
        for bad in ["0", "16777217", "-1", "1M", ""] {
            assert!(data_bytes_max(bad).unwrap_err().contains("from 1 to 16777216"), "{bad}");
        }
    }

    #[test]
    fn flags_become_one_alternative() {
        let args = FilterArgs {
            category: vec!["order".to_owned(), "cart".to_owned()],
            tag: vec!["a:b".to_owned()],
            ..FilterArgs::default()
        };
        let filter = serde_json::to_string(&args.filter()).unwrap();
        assert_eq!(filter, r#"{"categories":["order","cart"],"tags":["a:b"]}"#);
    }
}
