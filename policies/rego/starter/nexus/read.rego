package nexus.read

import data.starter.reads
import data.starter.subject

default decision := {
	"allow": false,
	"reasons": [{"code": "not_allowed", "msg": "it needs a role that may read, and a tenant"}],
}

decision := {"allow": true, "obligations": reads.obligations} if {
	reads.allowed
	input.resource.operation != "streams"
}

# The names of all streams say something about every tenant, and no tag is on them.
decision := {"allow": true} if {
	subject.across_tenants
	input.resource.operation == "streams"
}
