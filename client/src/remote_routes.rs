//! Routes behind a server.

use bytes::Bytes;
use nexus_protocol::AppendError;
use nexus_protocol::route::{DryRun, RouteConfig, RouteInfo};
use nexus_protocol::wire::{Answer, Operation, RouteAsk, WireError};

use crate::ask::{protocol, unread};
use crate::remote::Remote;

fn another() -> AppendError {
    unread(protocol("another answer"))
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn malformed(why: WireError) -> AppendError {
    unread(protocol(&why.to_string()))
}

fn about(route: &str, ask: RouteAsk) -> Operation {
    Operation::Route { route: route.to_owned(), ask: Box::new(ask) }
}

impl Remote {
    pub(crate) async fn set_route(
        &self,
        name: &str,
        config: &RouteConfig,
    ) -> Result<bool, AppendError> {
        let operation = about(name, RouteAsk::Set(config.into()));
        match self.change(operation, Bytes::new()).await? {
            Answer::RouteSet { made } => Ok(made),
            _ => Err(AppendError::Unknown),
        }
    }

    pub(crate) async fn routes(&self) -> Result<Vec<String>, AppendError> {
        match self.ask_twice(about("", RouteAsk::Names)).await?.0 {
            Answer::Routes(names) => Ok(names),
            _ => Err(another()),
        }
    }

    pub(crate) async fn route(&self, name: &str) -> Result<RouteInfo, AppendError> {
        match self.ask_twice(about(name, RouteAsk::Info)).await?.0 {
            Answer::Route(head) => (*head).try_into().map_err(malformed),
            _ => Err(another()),
        }
    }

    pub(crate) async fn delete_route(&self, name: &str) -> Result<(), AppendError> {
        match self.change(about(name, RouteAsk::Delete), Bytes::new()).await? {
            Answer::Done => Ok(()),
            _ => Err(AppendError::Unknown),
        }
    }

    pub(crate) async fn dry_run_route(
        &self,
        name: &str,
        config: Option<&RouteConfig>,
        limit: usize,
    ) -> Result<DryRun, AppendError> {
        let (config, limit) = (config.map(Into::into), u32::try_from(limit).unwrap_or(u32::MAX));
        match self.ask_twice(about(name, RouteAsk::DryRun { config, limit })).await? {
            (Answer::DryRun(head), payload) => head.with_events(payload).map_err(malformed),
            _ => Err(another()),
        }
    }
}
