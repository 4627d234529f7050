//! Routes: which events are led on, to another stream as links, or to a group.

use nexus_protocol::AppendError;
use nexus_protocol::route::{DryRun, RouteConfig, RouteInfo};

use crate::client::{Client, Reach, reach};

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
}
