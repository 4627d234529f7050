package nexus.snapshot

decision := data.nexus_roles.decision
