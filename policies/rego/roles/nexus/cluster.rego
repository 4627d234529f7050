package nexus.cluster

decision := data.nexus_roles.decision
