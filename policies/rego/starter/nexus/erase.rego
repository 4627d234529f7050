package nexus.erase

decision := data.starter.operations.decision
