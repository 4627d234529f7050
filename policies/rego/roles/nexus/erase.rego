package nexus.erase

decision := data.nexus_roles.decision
