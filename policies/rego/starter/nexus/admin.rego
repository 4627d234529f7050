package nexus.admin

decision := data.starter.operations.decision
