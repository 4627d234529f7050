package nexus.policy

decision := data.nexus_roles.decision
