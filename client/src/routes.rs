//! Routes: which events are led on, to another stream as links, or to a group; and what links lead to.

use std::collections::{BTreeSet, HashMap};

use nexus_protocol::limits::LINKS_RESOLVED_MAX;
use nexus_protocol::route::{DryRun, Link, RouteConfig, RouteInfo};
use nexus_protocol::{AppendError, Position, ReadError, RecordedEvent};

use crate::ask::protocol;
use crate::client::{Client, Reach, reach};

/// Events at positions, and the last position that was looked at.
pub(crate) type EventsAt = (Vec<RecordedEvent>, Option<Position>);

impl Client {
    /// Makes a route, or lets one that is there take other events from where it is; `true`: it was made. It is durable
    /// when it is answered.
    ///
    /// ```
    /// # #[cfg(feature = "embedded")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use nexus_protocol::Filter;
    /// use nexus_protocol::group::GroupStart;
    /// use nexus_protocol::route::{Condition, Operator, RouteConfig, RouteTarget};
    ///
    /// let client = nexus_client::connect("memory:").await?;
    /// let route = RouteConfig {
    ///     filter: Filter::category("order"),
    ///     conditions: vec![Condition::new("/data/total_cents", Operator::Ge, 100_000.into())?],
    ///     to: RouteTarget::Stream("large-orders".to_owned()),
    ///     start: GroupStart::End,
    /// };
    /// assert!(client.set_route("large", &route).await?);
    /// assert_eq!(client.routes().await?, ["large"]);
    /// assert_eq!(client.dry_run_route("large", None, 10).await?.matched, 0);
    /// # client.close().await?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "embedded"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// `Invalid` of a name or a configuration that no route can have, or this one not any more; as [`AppendError`] says,
    /// `Unknown` where it may have happened.
    pub async fn set_route(&self, name: &str, config: &RouteConfig) -> Result<bool, AppendError> {
        let set = async { reach!(self, there => there.set_route(name, config).await) };
        self.asked("set route", set).await
    }

    /// The names of all routes, sorted.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub async fn routes(&self) -> Result<Vec<String>, AppendError> {
        self.asked("routes", async { reach!(self, there => there.routes().await) }).await
    }

    /// How a route is.
    ///
    /// # Errors
    /// `NotFound` where there is none of this name; as [`AppendError`] says.
    pub async fn route(&self, name: &str) -> Result<RouteInfo, AppendError> {
        self.asked("route", async { reach!(self, there => there.route(name).await) }).await
    }

    /// Deletes a route; the links that it has written stay.
    ///
    /// # Errors
    /// As [`Client::route`]; `Unknown` where it may be deleted.
    pub async fn delete_route(&self, name: &str) -> Result<(), AppendError> {
        let deleted = async { reach!(self, there => there.delete_route(name).await) };
        self.asked("delete route", deleted).await
    }

    /// What a route would take of the newest events that its filter selects, of which at most `limit` are shown: the
    /// route that is there, or one that is not made yet. Nothing is written.
    ///
    /// # Errors
    /// As [`Client::route`]; `Invalid` of what no route can be.
    pub async fn dry_run_route(
        &self,
        name: &str,
        config: Option<&RouteConfig>,
        limit: usize,
    ) -> Result<DryRun, AppendError> {
        let run = async { reach!(self, there => there.dry_run_route(name, config, limit).await) };
        self.asked("dry run route", run).await
    }

    /// What links lead to, each in its place: the link itself, where the log has that no more, and what is no link as it
    /// is. For the events of a read, a page at a time: all of them are in memory, and are asked for together. Where the
    /// next page begins, the links say, and not what they lead to.
    ///
    /// ```
    /// # #[cfg(feature = "embedded")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::pin::{Pin, pin};
    /// use futures_core::Stream;
    /// use nexus_protocol::{Read, Revision};
    ///
    /// let client = nexus_client::connect("memory:").await?;
    /// let mut page = Vec::new();
    /// let mut read = pin!(client.read(Read::stream("large-orders").from_revision(Revision::ZERO).limit(100)));
    /// while let Some(event) = std::future::poll_fn(|context| read.as_mut().poll_next(context)).await {
    ///     page.push(event?);
    /// }
    /// let next = page.last().map(|link| link.revision().next());
    /// for order in client.resolve_links(page).await? {
    ///     println!("{} {}", order.stream(), order.event_type());
    /// }
    /// # assert_eq!(next, None);
    /// # client.close().await?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "embedded"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// As a read has them.
    pub async fn resolve_links(
        &self,
        events: impl IntoIterator<Item = RecordedEvent>,
    ) -> Result<Vec<RecordedEvent>, ReadError> {
        let events: Vec<(Option<Link>, RecordedEvent)> =
            events.into_iter().map(|event| (Link::of(&event), event)).collect();
        let positions = events.iter().filter_map(|(link, _)| link.as_ref()).map(|it| it.position);
        let positions: Vec<_> = positions.collect::<BTreeSet<_>>().into_iter().collect();
        let found = self.asked("resolve links", self.events_at(&positions)).await?;
        let resolved = events.into_iter().map(|(link, event)| {
            let original = link.and_then(|link| {
                found.get(&link.position).filter(|original| link.leads_to(original))
            });
            original.cloned().unwrap_or(event)
        });
        Ok(resolved.collect())
    }

    /// The events at these positions, which ascend, that the log has still.
    async fn events_at(
        &self,
        mut positions: &[Position],
    ) -> Result<HashMap<Position, RecordedEvent>, ReadError> {
        let mut found = HashMap::new();
        while !positions.is_empty() {
            let asked = positions.get(..LINKS_RESOLVED_MAX).unwrap_or(positions);
            let (events, looked_at) = reach!(self, there => there.events_at(asked).await)?;
            found.extend(events.into_iter().map(|event| (event.position(), event)));
            let passed = positions.partition_point(|it| looked_at.is_some_and(|at| *it <= at));
            if passed == 0 {
                return Err(protocol("an answer that has looked at nothing"));
            }
            (_, positions) = positions.split_at(passed);
        }
        Ok(found)
    }
}
