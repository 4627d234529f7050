package nexus.append

import data.permits

default decision := {
	"allow": false,
	"reasons": [{"code": "not_allowed", "msg": "permits are appended by writers, and by no clerk"}],
}

decision := {"allow": true} if permits.may_append
