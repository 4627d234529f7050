package nexus.admin

import data.permits

default decision := {
	"allow": false,
	"reasons": [{"code": "not_allowed", "msg": "this is for administrators"}],
}

decision := {"allow": true} if permits.administrates
