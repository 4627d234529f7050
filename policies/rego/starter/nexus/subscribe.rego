package nexus.subscribe

import data.starter.reads

default decision := {
	"allow": false,
	"reasons": [{"code": "not_allowed", "msg": "it needs a role that may read, and a tenant"}],
}

decision := {"allow": true, "obligations": reads.obligations} if reads.allowed
