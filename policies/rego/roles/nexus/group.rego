package nexus.group

decision := data.nexus_roles.decision
