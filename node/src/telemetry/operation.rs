//! [`Operation`]: what was asked for, as metrics, logs, and spans name it; and [`Door`], by which it came.

macro_rules! words {
    ($(#[$doc:meta])* $kind:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $kind {
            $($(#[$word_doc])* $word,)*
        }

        impl $kind {
            /// Every one, in their order.
            pub const ALL: &'static [Self] = &[$(Self::$word,)*];

            /// Its name: one of a fixed set, so that it may be a label.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => $text,)*
                }
            }
        }
    };
}

words! {
    /// What is asked for.
    Operation {
        /// To be let in: a connection, or a request of its own.
        Connect = "connect",
        /// To use a namespace.
        Access = "access",
        /// An append.
        Append = "append",
        /// A subscription.
        Subscribe = "subscribe",
        /// A read, from its beginning to its end.
        Read = "read",
        /// One event by its id.
        Event = "event",
        /// The end of the log.
        Head = "head",
        /// What is known of a stream.
        Stream = "stream",
        /// Streams by name.
        Streams = "streams",
        /// To change a stream's limits.
        SetStream = "set_stream",
        /// To delete a stream.
        DeleteStream = "delete_stream",
        /// To delete a stream for good.
        TombstoneStream = "tombstone_stream",
        /// To keep a snapshot.
        SaveSnapshot = "save_snapshot",
        /// To load a snapshot.
        LoadSnapshot = "load_snapshot",
        /// The snapshots of a stream.
        Snapshots = "snapshots",
        /// To make a group, or to change one.
        SetGroup = "set_group",
        /// The groups of a namespace.
        Groups = "groups",
        /// How a group is.
        Group = "group",
        /// To delete a group.
        DeleteGroup = "delete_group",
        /// To let a group deliver nothing for a while.
        PauseGroup = "pause_group",
        /// To let a group go on.
        ResumeGroup = "resume_group",
        /// To let a group go on from another position.
        SeekGroup = "seek_group",
        /// Deliveries for a consumer, and how long it waited for them.
        Receive = "receive",
        /// What a consumer says of deliveries.
        Answer = "answer",
        /// What is parked.
        Parked = "parked",
        /// To deliver again what is parked.
        ReplayParked = "replay_parked",
        /// To be done with what is parked.
        SkipParked = "skip_parked",
        /// To deliver another event in place of one that is parked.
        EditParked = "edit_parked",
        /// To make a route, or to change one.
        SetRoute = "set_route",
        /// The routes of a namespace.
        Routes = "routes",
        /// How a route is.
        Route = "route",
        /// What a route would take.
        DryRunRoute = "dry_run_route",
        /// To delete a route.
        DeleteRoute = "delete_route",
        /// To register a schema.
        RegisterSchema = "register_schema",
        /// Whether a schema could be registered.
        CheckSchema = "check_schema",
        /// Subjects of schemas, and what holds for them.
        Schemas = "schemas",
        /// A version of a schema.
        Schema = "schema",
        /// To set how far a version has come.
        SetSchemaState = "set_schema_state",
        /// To change what holds for a subject, or for all of them.
        SetSchemaSettings = "set_schema_settings",
        /// What policies decide.
        Policies = "policies",
        /// To have other policies decide.
        ActivatePolicies = "activate_policies",
        /// To have earlier policies decide again.
        RollbackPolicies = "rollback_policies",
        /// To make a projection, or to give one a new version.
        SetProjection = "set_projection",
        /// The projections of a namespace.
        Projections = "projections",
        /// How a projection is.
        Projection = "projection",
        /// To fold the documents of a projection again.
        RebuildProjection = "rebuild_projection",
        /// To have another version of a projection answer.
        SwitchProjection = "switch_projection",
        /// To let a projection fold nothing for a while.
        PauseProjection = "pause_projection",
        /// To let a projection go on.
        ResumeProjection = "resume_projection",
        /// To delete a projection, or a version of one.
        DeleteProjection = "delete_projection",
        /// A document by its key.
        Lookup = "lookup",
        /// Documents by what is in them.
        Search = "search",
        /// To arm a timer.
        SetTimer = "set_timer",
        /// How a timer stands.
        Timer = "timer",
        /// The timers of a namespace.
        Timers = "timers",
        /// To disarm a timer.
        DisarmTimer = "disarm_timer",
        /// Counts of a namespace.
        Stats = "stats",
        /// The names of all namespaces.
        Namespaces = "namespaces",
        /// To create a namespace.
        CreateNamespace = "create_namespace",
        /// To delete a namespace.
        DeleteNamespace = "delete_namespace",
        /// The tokens that hold.
        Tokens = "tokens",
        /// To make a token.
        CreateToken = "create_token",
        /// To revoke a token.
        RevokeToken = "revoke_token",
        /// The metrics.
        Metrics = "metrics",
        /// What administrators asked for.
        Audit = "audit",
        /// To show another certificate.
        ReloadCertificate = "reload_certificate",
        /// To trust other keys of tokens, or other authorities of certificates.
        ReloadTrust = "reload_trust",
    }
}

words! {
    /// What connections come by.
    Door {
        /// QUIC.
        Quic = "quic",
        /// HTTP.
        Http = "http",
    }
}

impl Operation {
    /// Whether `nexus_operation_duration_seconds` has it: appends have a histogram of their own, a
    /// subscription has no end of its own, and some are a door's.
    pub(super) fn is_timed(self) -> bool {
        !matches!(
            self,
            Self::Connect
                | Self::Access
                | Self::Append
                | Self::Subscribe
                | Self::ReloadCertificate
                | Self::ReloadTrust
        )
    }
}

const _: () = {
    let mut at = 0;
    while at < Operation::ALL.len() {
        assert!(Operation::ALL[at] as usize == at, "arrays are indexed by operations");
        at += 1;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_of_metrics_and_no_two_are_the_same() {
        let names: std::collections::BTreeSet<_> =
            Operation::ALL.iter().map(|operation| operation.as_str()).collect();
        assert_eq!(names.len(), Operation::ALL.len());
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
        assert_eq!(Operation::ALL.iter().filter(|it| !it.is_timed()).count(), 6);
    }
}
