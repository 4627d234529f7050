//! What is seen of the log.

use nexus_protocol::{
    AsOf, Direction, Filter, FilterItem, From, Invalid, Read, ReadError, StreamState,
};

use super::{Naive, Stored};

impl Naive {
    /// What a read yields.
    pub(crate) fn read(&self, read: &Read) -> Result<Vec<usize>, ReadError> {
        let revisions =
            matches!(read.from, From::Revision(_)) || matches!(read.as_of, Some(AsOf::Revision(_)));
        let forwards = read.direction == Direction::Forwards;
        match &read.stream {
            None if revisions => return Err(Invalid::Request(String::new()).into()),
            Some(stream) if self.now(stream).state == StreamState::Tombstoned => {
                return Err(ReadError::Deleted { stream: stream.clone() });
            }
            _ => {}
        }
        let within = |asked: u64, is: u64| if forwards { is >= asked } else { is <= asked };
        let system = read.system || read.stream.is_some();
        let wanted = |position: &usize| {
            let event = &self.log[*position];
            let position = *position as u64;
            let begun = match read.from {
                From::Start => true,
                From::Revision(at) => within(at.get(), event.revision),
                From::Position(at) => within(at.get(), position),
                From::Time(at) if forwards => event.recorded_at >= at.as_micros(),
                From::Time(at) => event.recorded_at <= at.as_micros(),
            };
            let known = match read.as_of {
                None => true,
                Some(AsOf::Position(at)) => position <= at.get(),
                Some(AsOf::Revision(at)) => event.revision <= at.get(),
                Some(AsOf::Recorded(at)) => event.recorded_at <= at.as_micros(),
            };
            begun && known && selects(&read.filter, event, system)
        };
        let mut all: Vec<usize> = match &read.stream {
            Some(stream) => self.positions(stream).to_vec(),
            None => (0..self.log.len()).collect(),
        };
        if !forwards {
            all.reverse();
        }
        let found = all.into_iter().filter(wanted).filter(|p| self.visible(*p));
        let limit = read.limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap());
        Ok(found.take(limit).collect())
    }
}

fn category(stream: &str) -> &str {
    stream.split('-').next().unwrap_or(stream)
}

fn item_matches(item: &FilterItem, event: &Stored) -> bool {
    let one_of =
        |list: &[String], is: &dyn Fn(&String) -> bool| list.is_empty() || list.iter().any(is);
    one_of(&item.streams, &|name| *name == event.stream)
        && one_of(&item.stream_prefix, &|prefix| event.stream.starts_with(prefix.as_str()))
        && one_of(&item.categories, &|name| name == category(&event.stream))
        && one_of(&item.types, &|name| *name == event.event.event_type)
        && item.tags.iter().all(|tag| event.event.tags.contains(tag))
}

/// System events are given where all are asked for, or where what matches asks for them by name.
pub(crate) fn selects(filter: &Filter, event: &Stored, system: bool) -> bool {
    let asked = |item: &FilterItem| {
        let mut names = item.streams.iter().chain(&item.stream_prefix).chain(&item.categories);
        system || !event.is_system() || names.any(|name| name.starts_with('$'))
    };
    match filter.alternatives() {
        [] => system || !event.is_system(),
        items => items.iter().any(|item| asked(item) && item_matches(item, event)),
    }
}
