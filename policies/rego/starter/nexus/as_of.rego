package nexus.as_of

import data.starter.reads

default decision := {
	"allow": false,
	"reasons": [{"code": "not_allowed", "msg": "it needs a role that may read, and a tenant"}],
}

# Whoever looks into the past comes on record: it shows what was corrected since.
decision := {"allow": true, "obligations": object.union(reads.obligations, {"log": true})} if reads.allowed
