package nexus.snapshot

import data.starter.subject

default decision := {
	"allow": false,
	"reasons": [{"code": "not_allowed", "msg": "a snapshot may have data of persons of all tenants"}],
}

# A snapshot is what somebody made of events: no tag is on it, and no mask fits it.
decision := {"allow": true} if subject.sees_everything
