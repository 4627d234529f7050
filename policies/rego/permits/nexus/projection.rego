package nexus.projection

import data.permits

default decision := {
	"allow": false,
	"reasons": [{"code": "not_allowed", "msg": "projections are made and changed by administrators"}],
}

# How far a projection is counts what a clerk may not see.
decision := {"allow": true} if {
	permits.may_read
	not permits.clerk
	input.resource.reach != "change"
}

decision := {"allow": true} if {
	permits.administrates
	input.resource.reach == "change"
}
