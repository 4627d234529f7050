package nexus.admin

decision := data.nexus_roles.decision
