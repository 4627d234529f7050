package nexus.subscribe

decision := data.nexus_roles.decision
