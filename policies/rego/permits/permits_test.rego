# Tests of all rules: who sees which permits, and who appends any.
package nexus.permits_test

somebody(roles, claims) := {"id": "p", "kind": "jwt", "roles": roles, "claims": claims}

# However it is said that somebody is a clerk.
clerks := [
	somebody(["clerk"], {}),
	somebody([], {"role": "clerk"}),
	somebody(["reader"], {"roles": ["clerk", "printer"]}),
	somebody(["reader"], {"roles": "clerk"}),
]

# Doors: the action, an operation, and how far it goes.
doors := [
	["read", "read", "use"],
	["read", "event", "use"],
	["read", "head", "see"],
	["read", "stream", "see"],
	["subscribe", "subscribe", "use"],
	["as_of", "as_of", "use"],
	["group", "receive", "use"],
	["group", "answer", "use"],
	["group", "group", "see"],
	["search", "lookup", "use"],
	["search", "search", "use"],
]

others := [
	["admin", "create_token", "change"],
	["erase", "delete_stream", "change"],
	["group", "set_group", "change"],
	["policy", "activate_policies", "change"],
	["projection", "set_projection", "change"],
	["route", "set_route", "change"],
	["schema", "register_schema", "change"],
	["snapshot", "load_snapshot", "use"],
	["timer", "set_timer", "change"],
]

ask(subject, asked) := decision if {
	[action, operation, reach] := asked
	decision := data.nexus[action].decision with input as {
		"v": 1,
		"action": action,
		"subject": subject,
		"resource": {"namespace": "default", "operation": operation, "reach": reach},
		"env": {"now": "2026-11-28T12:00:00Z", "door": "http"},
	}
}

streams := ["read", "streams", "see"]

parked := ["group", "parked", "see"]

projection := ["projection", "projection", "see"]

append := ["append", "append", "use"]

test_clerks_see_one_group_over_every_door if {
	every clerk in clerks {
		every door in doors {
			ask(clerk, door) == {"allow": true, "obligations": {"tags_all": ["group:Group 2"]}}
		}
	}
}

test_clerks_append_nothing_and_change_nothing if {
	every clerk in clerks {
		not ask(clerk, append).allow
		not ask(clerk, streams).allow
		not ask(clerk, parked).allow
		not ask(clerk, projection).allow
		every other in others {
			not ask(clerk, other).allow
		}
	}
}

# It takes away, whatever else somebody is.
test_a_clerk_who_is_an_administrator_is_a_clerk if {
	both := somebody(["admin", "writer"], {"role": "clerk"})
	not ask(both, append).allow
	not ask(both, ["policy", "activate_policies", "change"]).allow
	ask(both, ["read", "read", "use"]).obligations.tags_all == ["group:Group 2"]
}

test_others_see_all if {
	every role in ["admin", "writer", "reader"] {
		ask(somebody([role], {}), streams).allow
		ask(somebody([role], {}), parked).allow
		ask(somebody([role], {}), projection).allow
		every door in doors {
			ask(somebody([role], {"role": "printer"}), door) == {"allow": true, "obligations": {"tags_all": []}}
		}
	}
}

test_writers_append if {
	ask(somebody(["admin"], {}), append).allow
	ask(somebody(["writer"], {}), append).allow
	not ask(somebody(["reader"], {}), append).allow
}

test_administrators_do_the_rest if {
	every other in others {
		ask(somebody(["admin"], {}), other).allow
		not ask(somebody(["writer", "reader"], {}), other).allow
	}
}

test_who_has_no_role_may_do_nothing if {
	nobody := somebody([], {"role": "printer", "roles": ["gardener"]})
	every asked in array.concat([append, streams, parked, projection], array.concat(doors, others)) {
		decision := ask(nobody, asked)
		not decision.allow
		decision.reasons[0].code == "not_allowed"
	}
}
