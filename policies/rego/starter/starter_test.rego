# Tests of all rules. They bring their own directory and limits, so that data.json may be changed without them.
package nexus.starter_test

directory := {
	"jwt:anna": {"tenant": "acme", "roles": ["clerk"]},
	"jwt:ben": {"tenant": "acme", "roles": ["auditor", "personal_data"]},
	"token:shop": {"tenant": "acme", "roles": ["service"]},
	"jwt:eve": {"tenant": "acme", "roles": ["admin", "operator"]},
	"jwt:nobody": {"roles": ["clerk"]},
}

limits := {"clerk": 50000, "service": 500000}

nexus_role(role) := {"id": "ops", "kind": "token", "roles": [role], "claims": {}}

jwt(id, claims) := {"id": id, "kind": "jwt", "roles": [], "claims": claims}

anna := jwt("anna", {})

ben := jwt("ben", {})

shop := {"id": "shop", "kind": "token", "roles": ["writer"], "claims": {}}

admin := nexus_role("admin")

operator := nexus_role("operator")

ask(subject, action, operation, reach, events) := ask_about(subject, action, operation, reach, events, {})

ask_about(subject, action, operation, reach, events, about) := decision if {
	asked := {
		"v": 1,
		"action": action,
		"subject": subject,
		"resource": object.union({"namespace": "default", "operation": operation, "reach": reach}, about),
		"events": events,
		"env": {"now": "2026-11-28T12:00:00Z", "door": "http"},
	}
	decision := data.nexus[action].decision with input as asked with data.directory as directory
		with data.limits_cents as limits
}

read(subject) := ask(subject, "read", "read", "use", [])

append(subject, events) := ask(subject, "append", "append", "use", events)

event(type, tags) := {"stream": "order-1", "category": "order", "type": type, "content_type": "application/json", "tags": tags}

order(total) := object.union(event("OrderPlaced", ["tenant:acme"]), {"data": {"total_cents": total}})

codes(decision) := {reason.code | some reason in decision.reasons}

# Tenants.

test_people_see_events_of_their_tenant_by_every_door if {
	every door in [["read", "read"], ["read", "event"], ["subscribe", "subscribe"], ["as_of", "as_of"]] {
		decision := ask(anna, door[0], door[1], "use", [])
		decision.allow
		decision.obligations.tags_all == ["tenant:acme"]
	}
	receive := ask(shop, "group", "receive", "use", [])
	receive.allow
	receive.obligations.tags_all == ["tenant:acme"]
}

test_a_claim_says_whose_somebody_is if {
	decision := read(jwt("zoe", {"tenant": "globex", "app_roles": ["clerk"]}))
	decision.allow
	decision.obligations.tags_all == ["tenant:globex"]
}

test_data_json_counts_more_than_a_claim if {
	read(jwt("anna", {"tenant": "globex"})).obligations.tags_all == ["tenant:acme"]
}

test_a_token_called_as_a_person_is_somebody_else if {
	not read({"id": "anna", "kind": "token", "roles": [], "claims": {}}).allow
}

test_who_is_of_no_tenant_sees_nothing if {
	not read(jwt("nobody", {})).allow
	not read(nexus_role("reader")).allow
	not ask(nexus_role("writer"), "group", "receive", "use", []).allow
	not append(nexus_role("writer"), [event("Noted", [])]).allow
	codes(read(jwt("nobody", {}))) == {"not_allowed"}
	every tenant in [null, 5, ["acme"], {}] {
		not read(jwt("zoe", {"tenant": tenant, "app_roles": ["clerk"]})).allow
	}
}

test_who_runs_the_store_sees_all_tenants if {
	every subject in [admin, operator] {
		decision := read(subject)
		decision.allow
		decision.obligations.tags_all == []
	}
}

test_names_of_all_streams_are_for_who_runs_the_store if {
	ask(operator, "read", "streams", "see", []).allow
	not ask(anna, "read", "streams", "see", []).allow
	ask(anna, "read", "head", "see", []).allow
}

# Roles.

test_neither_data_nor_claims_make_an_administrator if {
	every subject in [jwt("eve", {}), jwt("mallory", {"tenant": "acme", "app_roles": ["admin", "operator"]})] {
		not read(subject).allow
		not ask(subject, "policy", "activate_policies", "change", []).allow
	}
}

test_a_claim_gives_one_role_or_several if {
	read(jwt("zoe", {"tenant": "acme", "app_roles": "clerk"})).allow
	read(jwt("zoe", {"tenant": "acme", "app_roles": ["clerk", "gardener"]})).allow
	every app_roles in ["admin", {"clerk": true}, 5, null, [["clerk"]]] {
		not read(jwt("zoe", {"tenant": "acme", "app_roles": app_roles})).allow
	}
}

test_the_store_can_be_administered if {
	ask(admin, "policy", "activate_policies", "change", []).allow
	ask(admin, "admin", "create_token", "change", []).allow
	every subject in [admin, operator] {
		ask(subject, "policy", "policies", "see", []).allow
		ask(subject, "schema", "register_schema", "change", []).allow
		ask(subject, "erase", "delete_stream", "change", []).allow
		ask(subject, "route", "set_route", "change", []).allow
		ask(subject, "group", "set_group", "change", []).allow
		ask(subject, "group", "group", "see", []).allow
		ask(subject, "admin", "stats", "see", []).allow
	}
}

test_operators_do_not_say_who_may_do_what if {
	not ask(operator, "policy", "activate_policies", "change", []).allow
	not ask(operator, "admin", "create_token", "change", []).allow
	not append(operator, []).allow
}

test_others_administer_nothing if {
	every subject in [anna, ben, shop, nexus_role("reader"), nexus_role("monitor"), jwt("mallory", {})] {
		not ask(subject, "policy", "policies", "see", []).allow
		not ask(subject, "policy", "activate_policies", "change", []).allow
		not ask(subject, "admin", "create_token", "change", []).allow
		not ask(subject, "schema", "register_schema", "change", []).allow
		not ask(subject, "erase", "delete_stream", "change", []).allow
		not ask(subject, "route", "set_route", "change", []).allow
		not ask(subject, "route", "dry_run_route", "use", []).allow
		not ask(subject, "group", "set_group", "change", []).allow
		not ask(subject, "group", "parked", "see", []).allow
		not ask(subject, "timer", "set_timer", "change", []).allow
		not ask(subject, "snapshot", "load_snapshot", "use", []).allow
	}
	codes(ask(anna, "policy", "policies", "see", [])) == {"role_missing"}
}

# Of all roles, those with which somebody of a tenant may do something.
may(action, operation, reach) := {role |
	some role in ["admin", "operator", "writer", "reader", "monitor", "clerk", "auditor", "service", "personal_data"]
	subject := {"id": "zoe", "kind": "jwt", "roles": [role], "claims": {"tenant": "acme", "app_roles": [role]}}
	ask(subject, action, operation, reach, []).allow
}

readers := {"admin", "operator", "writer", "reader", "clerk", "auditor", "service"}

test_all_but_monitors_read if {
	may("read", "read", "use") == readers
	may("read", "head", "see") == readers
	may("subscribe", "subscribe", "use") == readers
	may("as_of", "as_of", "use") == readers
	may("schema", "schemas", "see") == readers
}

test_programs_consume_and_people_do_not if {
	may("group", "receive", "use") == {"admin", "operator", "writer", "service"}
}

test_who_works_with_orders_appends if {
	may("append", "append", "use") == {"admin", "writer", "clerk", "service"}
}

test_monitors_see_counts if may("admin", "stats", "see") == {"admin", "operator", "monitor"}

test_timers_are_for_administrators if {
	may("timer", "set_timer", "change") == set()
	ask(dana, "timer", "set_timer", "change", []).allow
	erin := {"id": "erin", "kind": "jwt", "roles": ["operator"], "claims": {"app_roles": ["personal_data"]}}
	not ask(erin, "timer", "set_timer", "change", []).allow
}

test_no_rule_no_way if may("admin", "stats", "use") == set()

# Data of persons.

masked := ["/customer/name", "/customer/email"]

test_data_of_persons_are_masked if {
	read(anna).obligations.mask == masked
	read(admin).obligations.mask == masked
	ask(shop, "group", "receive", "use", []).obligations.mask == masked
}

test_who_needs_data_of_persons_sees_them if {
	read(ben).obligations.mask == []
	read(jwt("zoe", {"tenant": "acme", "app_roles": ["clerk", "personal_data"]})).obligations.mask == []
}

# Doors by which data come whole: no mask and no tag is kept there.
whole := [
	["snapshot", "load_snapshot", "use"],
	["group", "parked", "see"],
	["route", "dry_run_route", "use"],
	["timer", "timer", "use"],
]

dana := {"id": "dana", "kind": "jwt", "roles": ["admin"], "claims": {"app_roles": ["personal_data"]}}

test_what_is_shown_whole_is_for_who_may_see_all if {
	every door in whole {
		every subject in [admin, operator, anna, ben, shop] {
			not ask(subject, door[0], door[1], door[2], []).allow
		}
		ask(dana, door[0], door[1], door[2], []) == {"allow": true}
	}
}

test_streams_of_the_system_are_for_who_may_see_all if {
	every action in ["read", "subscribe", "as_of"] {
		every subject in [admin, operator, anna, ben] {
			not ask_about(subject, action, "read", "use", [], {"system": true}).allow
		}
		ask_about(dana, action, "read", "use", [], {"system": true}).allow
	}
}

# Nothing is demanded where nothing can be kept: it would be denied for that.
test_groups_and_routes_are_changed_without_obligations if {
	ask(operator, "group", "set_group", "change", []) == {"allow": true}
	ask(operator, "route", "set_route", "change", []) == {"allow": true}
}

# The past.

test_reads_of_the_past_are_put_on_record if {
	ask(ben, "as_of", "as_of", "use", []).obligations == {"tags_all": ["tenant:acme"], "mask": [], "log": true}
	not read(ben).obligations.log
	not ask(jwt("mallory", {}), "as_of", "as_of", "use", []).allow
}

# Appends.

test_events_must_have_the_tag_of_their_tenant if {
	decision := append(anna, [event("Noted", ["tenant:acme"])])
	decision.allow
	decision.obligations.tags_all == ["tenant:acme"]
	append(admin, [event("Noted", [])]).obligations.tags_all == []
}

test_events_have_no_tag_of_another_tenant if {
	decision := append(anna, [event("Noted", ["tenant:acme"]), event("Noted", ["tenant:acme", "tenant:globex"])])
	not decision.allow
	decision.reasons == {{"code": "foreign_tenant", "msg": `the tag "tenant:globex" is of another tenant`}}
	append(anna, [event("Noted", ["tenant:acme", "order:1"])]).allow
	append(admin, [event("Moved", ["tenant:acme", "tenant:globex"])]).allow
}

test_orders_are_placed_up_to_the_limit_of_the_role if {
	append(anna, [order(0), order(50000)]).allow
	decision := append(anna, [order(100), order(50001)])
	not decision.allow
	decision.reasons == {{
		"code": "over_limit",
		"msg": "an order says its `total_cents`, and they are at most 50000 for you",
	}}
	append(shop, [order(500000)]).allow
	not append(shop, [order(500001)]).allow
}

test_of_several_roles_the_highest_limit_counts if {
	both := jwt("zoe", {"tenant": "acme", "app_roles": ["clerk", "service"]})
	append(both, [order(500000)]).allow
	not append(both, [order(500001)]).allow
}

test_who_has_no_limit_places_no_order_that_costs if {
	not append(admin, [order(1)]).allow
	append(admin, [order(0)]).allow
}

test_an_order_that_says_no_number_is_denied if {
	every total in ["100", null, true, [], {}, -1] {
		codes(append(anna, [order(total)])) == {"over_limit"}
	}
	codes(append(anna, [object.union(event("OrderPlaced", ["tenant:acme"]), {"data": {}})])) == {"over_limit"}
	codes(append(anna, [event("OrderPlaced", ["tenant:acme"])])) == {"over_limit"}
}

test_all_reasons_are_said if {
	foreign := object.union(order(60000), {"tags": ["tenant:globex"]})
	codes(append(anna, [foreign])) == {"foreign_tenant", "over_limit"}
}

# What is asked comes on record, and the masks of the answer are applied to it.
test_data_of_persons_are_kept_out_of_the_record if {
	append(anna, [order(100)]).obligations.mask == masked
	append(anna, [order(60000)]).obligations.mask == masked
	append(ben, [order(100)]).obligations.mask == masked
}

test_readers_append_nothing if {
	codes(append(ben, [event("Noted", ["tenant:acme"])])) == {"not_allowed"}
	codes(append(ben, [order(60000)])) == {"not_allowed"}
}
