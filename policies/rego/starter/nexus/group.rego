package nexus.group

import data.starter.reads
import data.starter.subject

default decision := {
	"allow": false,
	"reasons": [{"code": "not_allowed", "msg": "it needs a role that may consume, and a tenant"}],
}

decision := {"allow": true, "obligations": reads.obligations} if {
	input.resource.reach == "use"
	subject.has_any({"admin", "operator", "writer", "service"})
	reads.allowed
}

# A group may be of several tenants: to make and to change one is for those who run the store.
decision := {"allow": true} if {
	input.resource.reach != "use"
	input.resource.operation != "parked"
	subject.across_tenants
}

# Events that are parked are shown whole.
decision := {"allow": true} if {
	input.resource.reach != "use"
	input.resource.operation == "parked"
	subject.sees_everything
}
