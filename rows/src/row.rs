//! A row as the event it makes, and what says how it is made.

use nexus_protocol::{EventData, EventId, names};

use crate::problem::{BadRow, RowProblem};
use crate::template::Template;

/// Rows one after the other, of any kind of input, up to the first bad one.
pub type Rows<'i> = Box<dyn Iterator<Item = Result<Row, BadRow>> + 'i>;

/// How rows become events. The data of an event is its whole row, whatever the templates use of it.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The stream of an event.
    pub stream: Template,
    /// Its type.
    pub event_type: Template,
    /// When it happened: RFC 3339 with an offset. Without it, events do not say.
    pub occurred_at: Option<Template>,
    /// Its tags ([`Template::parse_tag`]). One whose value is empty is left out.
    pub tags: Vec<Template>,
}

/// A row as the event it makes. Its event breaks no limit, and has an id.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The line it begins at, from 1.
    pub line: u64,
    /// The stream that its event belongs to: a name that may be one.
    pub stream: String,
    /// What it makes; `event.id` is `id`.
    pub event: EventData,
    /// The id of its event: made from the input, or what an exported event had.
    pub id: EventId,
    /// Whether it is the system's own event, which only the system appends.
    pub left_out: bool,
}

impl Row {
    /// A row whose event breaks no limit; it has no id yet.
    pub(crate) fn checked(
        line: u64,
        template: &Template,
        stream: String,
        event: EventData,
        data_bytes_max: usize,
    ) -> Result<Self, BadRow> {
        names::check_stream_name(&stream).map_err(|name| {
            BadRow::line(line, RowProblem::Name { name, template: template.to_string() })
        })?;
        if names::is_system(&stream) {
            return Err(BadRow::line(line, RowProblem::SystemStream { stream }));
        }
        if names::is_system(&event.event_type) {
            let event_type = event.event_type;
            return Err(BadRow::line(line, RowProblem::SystemType { event_type }));
        }
        event.check(data_bytes_max).map_err(|problem| BadRow::line(line, problem))?;
        Ok(Self { line, stream, event, id: EventId::from_bytes([0; 16]), left_out: false })
    }

    pub(crate) fn with_id(mut self, id: EventId) -> Self {
        self.id = id;
        self.event = self.event.id(id);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_imported_stream_is_never_the_systems() {
        let template = Template::parse("--stream", "{a}").unwrap();
        let event = EventData::json("T", &1).unwrap();
        let error = Row::checked(7, &template, "$meta-a".to_owned(), event, 1024).unwrap_err();
        assert!(
            error.to_string().starts_with("line 7: stream \"$meta-a\" is the system's"),
            "{error}"
        );
    }
}
