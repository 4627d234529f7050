package nexus.append

import data.starter.appends
import data.starter.reads
import data.starter.subject

# What is denied comes on record with its events. The masks keep data of persons out of there.
default decision := {
	"allow": false,
	"reasons": [{"code": "not_allowed", "msg": "it needs a role that may append, and a tenant"}],
	"obligations": {"mask": ["/customer/name", "/customer/email"]},
}

may_append if subject.has_any({"admin", "writer", "clerk", "service"})

# Every event must have these tags, or all of them are refused.
decision := {"allow": true, "obligations": {"tags_all": subject.tags, "mask": reads.personal}} if {
	may_append
	count(appends.refusals) == 0
}

decision := {"allow": false, "reasons": appends.refusals, "obligations": {"mask": reads.personal}} if {
	may_append
	count(appends.refusals) > 0
}
