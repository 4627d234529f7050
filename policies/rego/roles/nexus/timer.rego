package nexus.timer

decision := data.nexus_roles.decision
