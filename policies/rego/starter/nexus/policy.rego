package nexus.policy

decision := data.starter.operations.decision
