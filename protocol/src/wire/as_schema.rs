//! To read, subscribe, and consume in a version of the schemas. From [`PROTOCOL_SCHEMAS`](super::PROTOCOL_SCHEMAS) on; what is
//! asked for as it is stored is asked for as ever.

use rkyv::{Archive, Deserialize, Serialize};

use super::message::Operation;
use super::request::{ReadHead, SubscribeHead};
use crate::read::{Read, Subscribe};
use crate::schema::AsSchema;

/// Which version of their schemas events are shown in: [`AsSchema`].
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub enum AsSchemaHead {
    /// As they are stored.
    Raw,
    /// The newest.
    Latest,
    /// This.
    Version(u32),
}

impl From<AsSchema> for AsSchemaHead {
    fn from(as_schema: AsSchema) -> Self {
        match as_schema {
            AsSchema::Raw => Self::Raw,
            AsSchema::Latest => Self::Latest,
            AsSchema::Version(number) => Self::Version(number),
        }
    }
}

impl From<AsSchemaHead> for AsSchema {
    fn from(head: AsSchemaHead) -> Self {
        match head {
            AsSchemaHead::Raw => Self::Raw,
            AsSchemaHead::Latest => Self::Latest,
            AsSchemaHead::Version(number) => Self::Version(number),
        }
    }
}

/// Who consumes a group, and how much.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ConsumeHead {
    /// The group's name.
    pub group: String,
    /// The consumer's.
    pub consumer: String,
    /// So many deliveries may come before more credit is given.
    pub credit: u32,
    /// So many may be in one packet.
    pub max: u32,
}

impl Operation {
    /// A request to read.
    pub fn read(read: &Read) -> Self {
        let head = ReadHead::from(read);
        match read.as_schema {
            AsSchema::Raw => Self::Read(head),
            as_schema => Self::ReadAs { read: Box::new(head), as_schema: as_schema.into() },
        }
    }

    /// A request to subscribe, with the first credit.
    pub fn subscribe(subscribe: &Subscribe, credit: u32) -> Self {
        let head = SubscribeHead::new(subscribe, credit);
        match subscribe.as_schema {
            AsSchema::Raw => Self::Subscribe(head),
            as_schema => {
                Self::SubscribeAs { subscribe: Box::new(head), as_schema: as_schema.into() }
            }
        }
    }

    /// A request to be a consumer.
    pub fn consume(consume: ConsumeHead, as_schema: AsSchema) -> Self {
        match as_schema {
            AsSchema::Raw => {
                let ConsumeHead { group, consumer, credit, max } = consume;
                Self::Consume { group, consumer, credit, max }
            }
            as_schema => {
                Self::ConsumeAs { consume: Box::new(consume), as_schema: as_schema.into() }
            }
        }
    }
}
