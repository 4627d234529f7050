package nexus.search

decision := data.nexus_roles.decision
