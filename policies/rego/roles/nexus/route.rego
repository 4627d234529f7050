package nexus.route

decision := data.nexus_roles.decision
