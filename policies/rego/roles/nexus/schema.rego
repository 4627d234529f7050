package nexus.schema

decision := data.nexus_roles.decision
