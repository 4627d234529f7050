package nexus.read

import data.permits

default decision := {
	"allow": false,
	"reasons": [{"code": "not_allowed", "msg": "it needs a role that may read"}],
}

decision := {"allow": true, "obligations": {"tags_all": permits.tags}} if {
	permits.may_read
	not names_all_streams
}

decision := {"allow": true} if {
	not permits.clerk
	permits.may_read
	names_all_streams
}

# The names of streams say which permits there are, and no tag is on them.
names_all_streams if input.resource.operation == "streams"
