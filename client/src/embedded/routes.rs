//! Routes of a store in this process.

use nexus_node::Access;
use nexus_protocol::AppendError;
use nexus_protocol::route::{DryRun, RouteConfig, RouteInfo};

use super::Embedded;

impl Embedded {
    pub(crate) async fn set_route(
        &self,
        name: &str,
        config: &RouteConfig,
    ) -> Result<bool, AppendError> {
        let config = config.clone();
        self.blocking(name, move |access, name| access.set_route(name, &config)).await
    }

    pub(crate) async fn routes(&self) -> Result<Vec<String>, AppendError> {
        self.blocking("", |access, _| access.routes()).await
    }

    pub(crate) async fn route(&self, name: &str) -> Result<RouteInfo, AppendError> {
        self.blocking(name, Access::route).await
    }

    pub(crate) async fn delete_route(&self, name: &str) -> Result<(), AppendError> {
        self.blocking(name, Access::delete_route).await
    }

    pub(crate) async fn dry_run_route(
        &self,
        name: &str,
        config: Option<&RouteConfig>,
        limit: usize,
    ) -> Result<DryRun, AppendError> {
        let config = config.cloned();
        self.blocking(name, move |access, name| access.dry_run(name, config, limit)).await
    }
}
