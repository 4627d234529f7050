package nexus.saga

decision := data.nexus_roles.decision
