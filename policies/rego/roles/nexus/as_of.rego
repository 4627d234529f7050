package nexus.as_of

decision := data.nexus_roles.decision
