package nexus.watch

decision := data.nexus_roles.decision
