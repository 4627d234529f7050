package nexus.search

import data.permits

default decision := {
	"allow": false,
	"reasons": [{"code": "not_allowed", "msg": "it needs a role that may read"}],
}

decision := {"allow": true, "obligations": {"tags_all": permits.tags}} if permits.may_read
