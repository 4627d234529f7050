package nexus.append

decision := data.nexus_roles.decision
