# What may not be appended, and why.
package starter.appends

import data.starter.subject

# An event with the tags of two tenants would be shown to both.
refusals contains {"code": "foreign_tenant", "msg": sprintf("the tag %q is of another tenant", [tag])} if {
	not subject.across_tenants
	some event in input.events
	some tag in event.tags
	startswith(tag, "tenant:")
	not tag in subject.tags
}

# The message is made of what is always there: a refusal with a part that is undefined would be none.
refusals contains {"code": "over_limit", "msg": msg} if {
	some event in input.events
	event.type == "OrderPlaced"
	not within_limit(event)
	msg := sprintf("an order says its `total_cents`, and they are at most %d for you", [limit])
}

# A text is larger than every number, and null is smaller: so it is asked first whether it is a number.
within_limit(event) if {
	is_number(event.data.total_cents)
	event.data.total_cents >= 0
	event.data.total_cents <= limit
}

# Whoever has several roles may do what the mightiest of them may; who has none with a limit, nothing that costs.
default limit := 0

limit := max(limits) if count(limits) > 0

limits contains cents if {
	some role, cents in data.limits_cents
	subject.has_any({role})
}
