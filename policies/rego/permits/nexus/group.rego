package nexus.group

import data.permits

default decision := {
	"allow": false,
	"reasons": [{"code": "not_allowed", "msg": "groups are made and changed by administrators"}],
}

# Whoever may read may consume: what is delivered is what they see.
decision := {"allow": true, "obligations": {"tags_all": permits.tags}} if {
	permits.may_read
	input.resource.reach != "change"
	input.resource.operation != "parked"
}

# Of what is parked nothing can be left out.
decision := {"allow": true} if {
	permits.may_read
	not permits.clerk
	input.resource.operation == "parked"
}

decision := {"allow": true} if {
	permits.administrates
	input.resource.reach == "change"
}
