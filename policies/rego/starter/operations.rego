# Who may do what shows no events: one table for the actions that need no more.
package starter.operations

import data.starter.subject

operators := {"admin", "operator"}

able := {
	"erase": {"change": operators},
	"schema": {
		"see": {"admin", "operator", "writer", "reader", "clerk", "auditor", "service"},
		"change": operators,
	},
	"policy": {"see": operators, "change": {"admin"}},
	# Counts of the node; and, to change, its namespaces and tokens, with the audit of all that.
	"admin": {"see": {"admin", "operator", "monitor"}, "change": {"admin"}},
}

default decision := {
	"allow": false,
	"reasons": [{"code": "role_missing", "msg": "none of your roles may do this"}],
}

decision := {"allow": true} if subject.has_any(able[input.action][input.resource.reach])
