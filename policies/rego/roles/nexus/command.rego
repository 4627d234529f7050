package nexus.command

decision := data.nexus_roles.decision
