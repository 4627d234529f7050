//! To make, see, try, and delete routes.

use nexus_delivery::coordinator::Request;
use nexus_engine::Namespace;
use nexus_protocol::group::GroupStart;
use nexus_protocol::json::RouteConfigJson;
use nexus_protocol::limits::{DRY_RUN_EVENTS_MAX, DRY_RUN_SHOWN_MAX, ROUTES_MAX};
use nexus_protocol::route::{
    Branch, DryRun, Link, RouteConfig, RouteInfo, RouteState, RouteTarget, check_route_name,
};
use nexus_protocol::{AppendError, Invalid, Read};

use super::Access;
use super::groups::{first_position, from_read};
use crate::audit::Audited;
use crate::groups::Groups;
use crate::guard::About;
use crate::routes::{Routes, lag};
use crate::telemetry::{Coded, Operation};

/// Bytes of events that a dry run looks at, at most; it says how far it came.
const LOOKED_AT_BYTES: usize = 256 * 1024 * 1024;
/// Bytes of events that a dry run shows, unless one alone has more.
const SHOWN_BYTES: usize = 4 * 1024 * 1024;

fn no_route(name: &str) -> AppendError {
    AppendError::NotFound { what: format!("route {name:?}: set it first") }
}

fn invalid(why: String) -> AppendError {
    Invalid::Request(why).into()
}

/// A route of a group, as one of routes.
fn config_of(branch: &Branch, group: &str) -> RouteConfig {
    RouteConfig {
        filter: branch.filter.clone(),
        conditions: branch.conditions.clone(),
        to: RouteTarget::Group(group.to_owned()),
        start: GroupStart::End,
    }
}

impl Access {
    /// Makes a route, or lets one that is there take other events from where it is; `true`: it was made. Blocks until that
    /// is durable.
    ///
    /// # Errors
    /// When the principal may not manage routes; `Invalid` of a name that is none, of what no route can be, of another
    /// kind of target than it has, and where there are too many; `NotFound` where it leads to a group that is not
    /// there; as an append's.
    pub fn set_route(&self, name: &str, config: &RouteConfig) -> Result<bool, AppendError> {
        let details = serde_json::to_value(RouteConfigJson::from(config)).unwrap_or_default();
        self.change_route(Operation::SetRoute, name, Some(details), |namespace| {
            config.check()?;
            let there = self.find(namespace, name)?;
            match (&there, &config.to) {
                (Some(RouteTarget::Group(was)), to) if *to != RouteTarget::Group(was.clone()) => {
                    Err(invalid(format!("route {name:?} leads to group:{was}: delete it first")))
                }
                (Some(RouteTarget::Stream(was)), RouteTarget::Group(_)) => {
                    Err(invalid(format!("route {name:?} leads to stream:{was}: delete it first")))
                }
                (None, _) if self.all_names(namespace)?.len() >= ROUTES_MAX => {
                    Err(invalid(format!("there are {ROUTES_MAX} routes already: delete one first")))
                }
                (_, RouteTarget::Group(group)) => {
                    self.check_takes_routes(group)?;
                    let (filter, conditions) = (config.filter.clone(), config.conditions.clone());
                    let branch = Branch { name: name.to_owned(), filter, conditions };
                    let ask = (name.to_owned(), Some(branch));
                    self.ask_group(group, ask, Request::Branch).map(|was| !was)
                }
                (_, RouteTarget::Stream(_)) => {
                    let begins = first_position(namespace, config.start)?;
                    self.node.running_routes().set(namespace, name, (config, begins))
                }
            }
        })
    }

    /// The names of all routes, sorted.
    ///
    /// # Errors
    /// When the principal may not inspect.
    pub fn routes(&self) -> Result<Vec<String>, AppendError> {
        self.observe(Operation::Routes, About::default(), |namespace| self.all_names(namespace))
    }

    /// How a route is. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not inspect, or there is no such route.
    pub fn route(&self, name: &str) -> Result<RouteInfo, AppendError> {
        self.observe(Operation::Route, About::name(name), |namespace| {
            check_route_name(name)?;
            self.look_at_route(namespace, name)
        })
    }

    /// Deletes a route; the links that it has written stay. Blocks until that is durable.
    ///
    /// # Errors
    /// When the principal may not manage routes, or there is no such route; as an append's.
    pub fn delete_route(&self, name: &str) -> Result<(), AppendError> {
        self.change_route(Operation::DeleteRoute, name, None, |namespace| {
            let was_there = match self.find(namespace, name)? {
                Some(RouteTarget::Stream(_)) => {
                    self.node.running_routes().delete(namespace, name)?
                }
                Some(RouteTarget::Group(group)) => {
                    self.ask_group(&group, (name.to_owned(), None), Request::Branch)?
                }
                None => false,
            };
            was_there.then_some(()).ok_or_else(|| no_route(name))
        })
    }

    /// What a route would take of the events that are there, or one would that is not made yet: of the newest
    /// [`DRY_RUN_EVENTS_MAX`] that its filter selects. Shows at most `limit` events, and [`DRY_RUN_SHOWN_MAX`]. Nothing is
    /// written. Blocks on the disk.
    ///
    /// # Errors
    /// When the principal may not read; `Invalid` of what no route can be; `NotFound` where none is given, and there is no
    /// such route.
    pub fn dry_run(
        &self,
        name: &str,
        config: Option<RouteConfig>,
        limit: usize,
    ) -> Result<DryRun, AppendError> {
        self.observe(Operation::DryRunRoute, About::name(name), |namespace| {
            check_route_name(name)?;
            let config = match config {
                Some(config) => config,
                None => self.look_at_route(namespace, name)?.config,
            };
            config.check()?;
            dry_run(namespace, name, &config, limit.min(DRY_RUN_SHOWN_MAX))
        })
    }

    /// Whether the principal may manage routes: asked before anything of a request is looked at.
    ///
    /// # Errors
    /// When it may not.
    pub fn may_manage_routes(&self) -> Result<(), AppendError> {
        self.guard(Operation::SetRoute, About::beforehand(), self.origin).map(|_| ())
    }

    /// The routes that lead to groups, each with its group.
    fn branches(&self, namespace: &Namespace) -> Result<Vec<(String, Branch)>, AppendError> {
        let mut all = Vec::new();
        for group in Groups::names(namespace)? {
            match self.ask_group(&group, false, Request::Look) {
                Ok(snapshot) => {
                    let of = snapshot.config.branches.into_iter();
                    all.extend(of.map(|branch| (group.clone(), branch)));
                }
                // It was deleted meanwhile.
                Err(AppendError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    fn all_names(&self, namespace: &Namespace) -> Result<Vec<String>, AppendError> {
        let mut names = Routes::names(namespace)?;
        names.extend(self.branches(namespace)?.into_iter().map(|(_, branch)| branch.name));
        names.sort();
        Ok(names)
    }

    /// Where a route leads to.
    fn find(&self, namespace: &Namespace, name: &str) -> Result<Option<RouteTarget>, AppendError> {
        if let Some(journal) = Routes::journal(namespace, name)? {
            return Ok(Some(journal.config.to));
        }
        let mut branches = self.branches(namespace)?.into_iter();
        let found = branches.find(|(_, branch)| branch.name == name);
        Ok(found.map(|(group, _)| RouteTarget::Group(group)))
    }

    fn look_at_route(&self, namespace: &Namespace, name: &str) -> Result<RouteInfo, AppendError> {
        let head_position = namespace.head().position;
        if let Some(journal) = Routes::journal(namespace, name)? {
            let carried = self.node.running_routes().carry(namespace, name)?;
            let mut gauges = carried.gauges;
            gauges.next = gauges.next.max(journal.next.get());
            let state = match journal.refused {
                Some(_) => RouteState::Failed,
                None => RouteState::Running,
            };
            return Ok(RouteInfo {
                name: name.to_owned(),
                config: journal.config,
                state,
                error: journal.refused,
                position: Some(nexus_protocol::Position::new(gauges.next)),
                head_position,
                lag_events: lag(&gauges, head_position),
                links: journal.links,
            });
        }
        let mut branches = self.branches(namespace)?.into_iter();
        let found = branches.find(|(_, branch)| branch.name == name);
        let (group, branch) = found.ok_or_else(|| no_route(name))?;
        let of_group = self.look(namespace, &group, false)?.0;
        Ok(RouteInfo {
            name: name.to_owned(),
            config: config_of(&branch, &group),
            state: RouteState::Running,
            error: None,
            position: None,
            head_position,
            lag_events: of_group.lag_events,
            links: 0,
        })
    }

    /// Changes a route for somebody who may, and puts on record what became of it.
    fn change_route<T>(
        &self,
        operation: Operation,
        name: &str,
        details: Option<serde_json::Value>,
        work: impl FnOnce(&Namespace) -> Result<T, AppendError>,
    ) -> Result<T, AppendError> {
        self.observe(operation, About::name(name), |namespace| {
            check_route_name(name)?;
            let audited = Audited::new(operation, self.principal());
            let audited = audited.in_namespace(self.namespace()).about(name);
            let audited = match details {
                Some(details) => audited.with(details),
                None => audited,
            };
            let done = {
                let _alone = self.node.running_routes().change();
                work(namespace)
            };
            let failed = done.as_ref().err().map(|error| error as &dyn Coded);
            self.node.put_on_record(self.principal(), audited, failed);
            done
        })
    }
}

fn dry_run(
    namespace: &Namespace,
    name: &str,
    config: &RouteConfig,
    limit: usize,
) -> Result<DryRun, AppendError> {
    let mut run = DryRun { matched: 0, looked_at: 0, from_position: None, events: Vec::new() };
    let (mut bytes, mut read_bytes) = (0_usize, 0_usize);
    let read = Read::all().filter(config.filter.clone()).backwards();
    for event in namespace.read(read.limit(DRY_RUN_EVENTS_MAX)) {
        let event = event.map_err(from_read)?;
        run.looked_at += 1;
        run.from_position = Some(event.position());
        read_bytes += event.as_bytes().len();
        let goes_on = match config.to {
            RouteTarget::Stream(_) => Link::by_route(name, &event).is_some(),
            RouteTarget::Group(_) => true,
        };
        if !goes_on || !config.takes(&event) {
            continue;
        }
        run.matched += 1;
        let fits = run.events.is_empty() || bytes + event.as_bytes().len() <= SHOWN_BYTES;
        if run.events.len() < limit && fits {
            bytes += event.as_bytes().len();
            run.events.push(event);
        }
        if read_bytes >= LOOKED_AT_BYTES {
            break;
        }
    }
    Ok(run)
}
