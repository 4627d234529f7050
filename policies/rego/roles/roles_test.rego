# Who may do what, operation by operation: each test is a role, and what it may do is written out.
package nexus.roles_test

# What is asked for, by operation: the action and how far it goes.
operations := {
	"append": ["append", "use"],
	"read": ["read", "use"],
	"event": ["read", "use"],
	"head": ["read", "see"],
	"stream": ["read", "see"],
	"streams": ["read", "see"],
	"as_of": ["as_of", "use"],
	"subscribe": ["subscribe", "use"],
	"set_stream": ["erase", "change"],
	"delete_stream": ["erase", "change"],
	"tombstone_stream": ["erase", "change"],
	"save_snapshot": ["snapshot", "change"],
	"load_snapshot": ["snapshot", "use"],
	"snapshots": ["snapshot", "see"],
	"set_group": ["group", "change"],
	"delete_group": ["group", "change"],
	"pause_group": ["group", "change"],
	"resume_group": ["group", "change"],
	"seek_group": ["group", "change"],
	"replay_parked": ["group", "change"],
	"skip_parked": ["group", "change"],
	"edit_parked": ["group", "change"],
	"groups": ["group", "see"],
	"group": ["group", "see"],
	"parked": ["group", "see"],
	"receive": ["group", "use"],
	"answer": ["group", "use"],
	"set_route": ["route", "change"],
	"delete_route": ["route", "change"],
	"routes": ["route", "see"],
	"route": ["route", "see"],
	"dry_run_route": ["route", "use"],
	"register_schema": ["schema", "change"],
	"set_schema_state": ["schema", "change"],
	"set_schema_settings": ["schema", "change"],
	"check_schema": ["schema", "see"],
	"schemas": ["schema", "see"],
	"schema": ["schema", "see"],
	"set_timer": ["timer", "change"],
	"disarm_timer": ["timer", "change"],
	"timer": ["timer", "use"],
	"timers": ["timer", "use"],
	"policies": ["policy", "see"],
	"activate_policies": ["policy", "change"],
	"rollback_policies": ["policy", "change"],
	"stats": ["admin", "see"],
	"namespaces": ["admin", "see"],
	"metrics": ["admin", "see"],
	"create_namespace": ["admin", "change"],
	"delete_namespace": ["admin", "change"],
	"tokens": ["admin", "change"],
	"create_token": ["admin", "change"],
	"revoke_token": ["admin", "change"],
	"audit": ["admin", "change"],
}

asked(action, operation, reach, roles) := {
	"v": 1,
	"action": action,
	"subject": {"id": "p", "kind": "token", "roles": roles, "claims": {}},
	"resource": {"namespace": "default", "operation": operation, "reach": reach},
	"env": {"now": "2026-11-28T12:00:00Z", "door": "quic"},
}

decided(action, operation, reach, roles) := said if {
	said := data.nexus[action].decision with input as asked(action, operation, reach, roles)
}

# The operations that somebody with these roles may do.
allowed(roles) := {operation |
	some operation, [action, reach] in operations
	decided(action, operation, reach, roles).allow
}

all := {operation | some operation, _ in operations}

administrators_only := {
	"tokens", "create_token", "revoke_token", "audit", "activate_policies", "rollback_policies",
}

appends := {"append", "save_snapshot", "set_timer", "disarm_timer"}

counts := {"stats", "namespaces", "metrics"}

reads := {
	"read", "event", "head", "stream", "streams", "as_of", "subscribe", "load_snapshot", "snapshots", "groups",
	"group", "parked", "routes", "route", "dry_run_route", "check_schema", "schemas", "schema", "timer", "timers",
}

consumes := {"receive", "answer"}

test_admin_may_do_everything if allowed(["admin"]) == all

test_operator_may_do_all_but_append_and_say_who_may_do_what if {
	allowed(["operator"]) == (all - appends) - administrators_only
}

test_writer_appends_reads_and_consumes if {
	allowed(["writer"]) == ((appends | reads) | consumes) | counts
}

test_reader_reads if allowed(["reader"]) == reads | counts

test_monitor_sees_counts if allowed(["monitor"]) == counts

test_who_has_no_role_may_do_nothing if {
	allowed([]) == set()
	allowed(["clerk", "Admin", "", null]) == set()
}

test_several_roles_may_do_what_either_may if {
	allowed(["monitor", "operator", "writer"]) == all - administrators_only
}

# Whoever has it is let through before rules are asked. If they are asked all the same, it is a role like any other word.
test_break_glass_stands_in_no_list if allowed(["break_glass"]) == set()

refusal(action, operation, reach) := reason if {
	some reason in decided(action, operation, reach, []).reasons
}

test_a_refusal_says_which_roles_would_do if {
	refusal("append", "append", "use") == {
		"code": "role_missing",
		"msg": `"p" may not append: it needs one of the roles admin, writer`,
	}
}

says(action, operation, reach, text) if {
	refusal(action, operation, reach).msg == sprintf(`"p" may not %s`, [text])
}

test_refusals_name_what_was_asked_for if {
	says("read", "read", "use", "read: it needs one of the roles admin, operator, writer, reader")
	says("read", "head", "see", "inspect: it needs one of the roles admin, operator, writer, reader")
	says("group", "receive", "use", "consume: it needs one of the roles admin, operator, writer")
	says("group", "set_group", "change", "manage groups: it needs one of the roles admin, operator")
	says("route", "set_route", "change", "manage routes: it needs one of the roles admin, operator")
	says("schema", "register_schema", "change", "manage schemas: it needs one of the roles admin, operator")
	says("erase", "delete_stream", "change", "manage streams: it needs one of the roles admin, operator")
	says("admin", "create_namespace", "change", "manage namespaces: it needs one of the roles admin, operator")
	says("admin", "stats", "see", "monitor: it needs one of the roles admin, operator, writer, reader, monitor")
	says("admin", "tokens", "change", "manage tokens: it needs one of the roles admin")
	says("admin", "audit", "change", "see the audit: it needs one of the roles admin")
	says("policy", "activate_policies", "change", "manage policies: it needs one of the roles admin")
}

# What comes later is not open to anybody by chance, also where its operation is called as something that is.
test_what_no_table_has_is_for_administrators if {
	says("cluster", "move_namespace", "change", "move namespace: it needs one of the roles admin")
	says("watch", "read", "use", "read: it needs one of the roles admin")
	says("admin", "rename_node", "change", "rename node: it needs one of the roles admin")
	says("read", "audit", "change", "audit: it needs one of the roles admin")
	others := ["operator", "writer", "reader", "monitor"]
	every action in ["watch", "search", "saga", "command", "projection", "cluster"] {
		not decided(action, "read", "use", others).allow
		decided(action, "read", "use", ["admin"]).allow
	}
}

test_the_operation_counts_more_than_how_far_it_goes if {
	says("admin", "audit", "see", "see the audit: it needs one of the roles admin")
}

test_names_are_quoted if {
	said := data.nexus.append.decision with input as {
		"action": "append",
		"subject": {"id": "a\"b\nc", "roles": []},
		"resource": {"operation": "append", "reach": "use"},
	}
	some reason in said.reasons
	startswith(reason.msg, `"a\"b\nc" may not append: `)
}

test_nothing_is_said_of_what_is_allowed if {
	decided("append", "append", "use", ["writer"]) == {"allow": true, "reasons": set()}
}

test_an_input_without_roles_allows_nothing if {
	said := data.nexus.append.decision with input as {
		"action": "append",
		"subject": {"id": "p"},
		"resource": {"operation": "append", "reach": "use"},
	}
	not said.allow
}
