package nexus.projection

decision := data.nexus_roles.decision
