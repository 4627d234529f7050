package nexus.schema

decision := data.starter.operations.decision
