package nexus.read

decision := data.nexus_roles.decision
