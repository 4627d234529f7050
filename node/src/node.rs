//! [`Node`]: what is opened, wired, and shut down in order.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use nexus_engine::{CloseError, Engine, Namespace, OpenError};
use nexus_protocol::ReadError;

use crate::audit::Audit;
use crate::certificates::Certificates;
use crate::groups::Groups;
use crate::guard::Refusal;
use crate::handlers::Access;
use crate::jwt::{Jwks, JwtRules, Jwts};
use crate::policies::Policing;
use crate::principal::{Principal, Role};
use crate::projections::{ProjectionRoom, Projections};
use crate::quota::{Quota, Quotas};
use crate::routes::Routes;
use crate::schemas::Schemas;
use crate::telemetry::{Coded, Operation, Telemetry};
use crate::timers::Timers;
use crate::tokens::{TOKENS_STREAM, Tokens};
use nexus_schemas::Upcaster;

/// The parts of Nexus, assembled. Cheap to clone.
///
/// ```
/// use nexus_node::{Node, Principal};
/// use nexus_protocol::{Append, EventData, Read};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let node = Node::open(dir.path())?;
/// let access = node.access(Principal::local(), "default")?;
/// let placed = EventData::json("OrderPlaced", &serde_json::json!({"total_cents": 250}))?;
/// access.append(Append::to("order-1").no_stream().event(placed))?.wait()?;
/// assert_eq!(access.read(Read::stream("order-1"))?.into_iter().count(), 1);
/// node.close()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Node {
    engine: Engine,
    policing: Arc<Policing>,
    tokens: Arc<Tokens>,
    audit: Arc<Audit>,
    telemetry: Arc<Telemetry>,
    quotas: Arc<Quotas>,
    jwts: Option<Arc<Jwts>>,
    certificates: Arc<Certificates>,
    groups: Arc<Groups>,
    routes: Arc<Routes>,
    timers: Arc<Timers>,
    schemas: Arc<Schemas>,
    projections: Arc<Projections>,
}

impl Node {
    /// Opens a data directory, with all its namespaces; an empty or missing one is made a new log.
    ///
    /// # Errors
    /// As [`OpenError`] says: each error names what to do.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, NodeError> {
        Self::over(Engine::open(dir)?)
    }

    /// A node over an engine that is open already.
    ///
    /// # Errors
    /// When the tokens in it cannot be read.
    pub fn over(engine: Engine) -> Result<Self, NodeError> {
        let audit = Arc::new(Audit::new(engine.clone()));
        let tokens = Tokens::load(Arc::clone(&audit)).map_err(NodeError::Tokens)?;
        let (tokens, telemetry) = (Arc::new(tokens), Arc::new(Telemetry::new()));
        let (policing, quotas) = (Arc::default(), Arc::default());
        let certificates = Arc::default();
        let groups = Arc::new(Groups::new(Arc::clone(&telemetry)));
        let routes = Arc::new(Routes::new(Arc::clone(&telemetry)));
        let schemas = Arc::new(Schemas::new(Arc::clone(&audit)));
        let timers = Arc::new(Timers::new(Arc::clone(&schemas), Arc::clone(&telemetry)));
        let projections =
            Arc::new(Projections::new(&engine, Arc::clone(&schemas), ProjectionRoom::default()));
        Ok(Self {
            engine,
            policing,
            tokens,
            audit,
            telemetry,
            quotas,
            jwts: None,
            certificates,
            groups,
            routes,
            timers,
            schemas,
            projections,
        })
    }

    /// With bounds on what each principal may do in each namespace; this process itself has none.
    #[must_use]
    pub fn quota(mut self, quota: Quota) -> Self {
        self.quotas = Arc::new(Quotas::new(quota));
        self
    }

    /// With bounds on what projections take of the disk.
    #[must_use]
    pub fn projection_room(mut self, room: ProjectionRoom) -> Self {
        let schemas = Arc::clone(&self.schemas);
        self.projections = Arc::new(Projections::new(&self.engine, schemas, room));
        self
    }

    /// Letting in whoever has a JWT that one of these keys verifies, and that says this.
    #[must_use]
    pub fn jwts(mut self, rules: JwtRules, keys: Jwks) -> Self {
        self.jwts = Some(Arc::new(Jwts::new(rules, keys)));
        self
    }

    /// Letting in whoever shows a client certificate of one of these names, each with a role. The name of a
    /// certificate is its first URI, or else DNS name, or else email, or else its common name.
    #[must_use]
    pub fn certificates(mut self, roles: BTreeMap<String, Role>) -> Self {
        self.certificates = Arc::new(Certificates(roles));
        self
    }

    /// Adds a lift of data, from one version of its schema to a later one, that is written in Rust, for what no transform
    /// says. It holds for all namespaces, for whoever reads by this node, and for what is read from now on.
    ///
    /// # Errors
    /// When it leads nowhere, or from where another leads.
    pub fn add_upcaster(&self, upcaster: impl Upcaster) -> Result<(), nexus_protocol::Invalid> {
        self.schemas.add_upcaster(Arc::new(upcaster))
    }

    /// A namespace, as this principal may use it.
    ///
    /// # Errors
    /// When there is no such namespace, or the name is not one.
    pub fn access(
        &self,
        principal: impl Into<Arc<Principal>>,
        namespace: &str,
    ) -> Result<Access, NoAccess> {
        let found = self.engine.namespace(namespace);
        let found = found.map_err(|_| Refusal::NoNamespace { name: namespace.to_owned() })?;
        Ok(Access::new(self.clone(), found, principal.into()))
    }

    /// What the node tells about itself: a door adds what only it knows.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// Whether a failed write or sync has poisoned a log (I7): appends to it are refused until the node is
    /// started again.
    pub fn is_poisoned(&self) -> bool {
        !self.engine.poisoned().is_empty()
    }

    /// Opens every group, also those that nobody asks for: what is late is noted, and what makes no progress is seen.
    /// Without it a group is opened when it is asked something first.
    pub fn open_groups(&self) {
        self.in_each(Operation::Groups, |namespace| self.groups.open_all(namespace));
    }

    /// Runs all that goes on by itself: groups, routes, timers, and projections. What decides and what payloads have to look like is read
    /// first, so that the first request to a namespace does not wait for that.
    pub fn open_all(&self) {
        self.in_each(Operation::Policies, |namespace| self.policing.state(namespace));
        self.in_each(Operation::Schemas, |namespace| self.schemas.registry(namespace));
        self.open_groups();
        self.open_routes();
        self.open_timers();
        self.open_projections();
    }

    /// Folds every projection from now on. Without it one is folded from when somebody asks for it.
    pub fn open_projections(&self) {
        self.in_each(Operation::Projections, |namespace| self.projections.open_all(namespace));
    }

    /// Carries every route that leads to a stream, also those that nobody asks for. Without it a route is carried from
    /// when it is asked for, and begins where it was.
    pub fn open_routes(&self) {
        self.in_each(Operation::Routes, |namespace| self.routes.open_all(namespace));
    }

    /// Has timers fired from now on, in every namespace that has any. Without it they are once somebody arms or lists
    /// one: whoever only looks into a directory for a moment appends nothing to it.
    pub fn open_timers(&self) {
        self.in_each(Operation::Timers, |namespace| self.timers.open(namespace));
    }

    /// Opens something in every namespace. What cannot be opened is in the log, and keeps nothing else from it.
    fn in_each<T, E: Coded>(
        &self,
        operation: Operation,
        open: impl Fn(&Namespace) -> Result<T, E>,
    ) {
        for name in self.engine.namespaces() {
            let opened = self.engine.namespace(&name).map(|namespace| open(&namespace));
            if let Ok(Err(error)) = opened {
                let context = crate::telemetry::Context::new(operation, &name, "");
                self.telemetry.log_error(&context, &error);
            }
        }
    }

    pub(crate) fn running_routes(&self) -> &Routes {
        &self.routes
    }

    pub(crate) fn projections(&self) -> &Projections {
        &self.projections
    }

    pub(crate) fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    pub(crate) fn running_timers(&self) -> &Timers {
        &self.timers
    }

    pub(crate) fn running_groups(&self) -> &Groups {
        &self.groups
    }

    pub(crate) fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    pub(crate) fn known_certificates(&self) -> &Certificates {
        &self.certificates
    }

    pub(crate) fn trusted_jwts(&self) -> Option<&Jwts> {
        self.jwts.as_deref()
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    pub(crate) fn audit_stream(&self) -> &Audit {
        &self.audit
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn policing(&self) -> &Policing {
        &self.policing
    }

    /// Commits what waits and closes the engine. Whoever still holds an [`Access`] is answered that
    /// the store is closed.
    ///
    /// # Errors
    /// When the end could not be noted: nothing is lost, but the next start reads more.
    pub fn close(self) -> Result<(), CloseError> {
        self.projections.close();
        self.routes.close();
        self.groups.close();
        self.timers.close();
        self.engine.close()
    }
}

/// Why a node does not open.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The engine does not.
    #[error(transparent)]
    Engine(#[from] OpenError),
    /// Who may be let in cannot be read.
    #[error("cannot read the tokens in stream `{}`", TOKENS_STREAM)]
    Tokens(#[source] ReadError),
}

/// Why there is no access to a namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", nexus_protocol::ReadError::from(self.0.clone()))]
pub struct NoAccess(pub Refusal);

impl From<Refusal> for NoAccess {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}
