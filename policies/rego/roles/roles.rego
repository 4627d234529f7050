# What the roles of Nexus may do: the rules of a namespace until another bundle is activated.
#
# They look at who asks and at what is asked for, and never at streams, events, or the time: so an answer is remembered.
# The role that breaks the glass stands in no list here: it is let through before rules are asked.
package nexus_roles

# The roles that may do something, the mightiest first.
able := {
	"append": ["admin", "writer"],
	"read": ["admin", "operator", "writer", "reader"],
	"inspect": ["admin", "operator", "writer", "reader"],
	"consume": ["admin", "operator", "writer"],
	"manage groups": ["admin", "operator"],
	"manage routes": ["admin", "operator"],
	"manage schemas": ["admin", "operator"],
	"manage streams": ["admin", "operator"],
	"manage namespaces": ["admin", "operator"],
	"monitor": ["admin", "operator", "writer", "reader", "monitor"],
	"manage tokens": ["admin"],
	"see the audit": ["admin"],
	"see policies": ["admin", "operator"],
	"manage policies": ["admin"],
}

# What is done, by the action and how far it goes.
done := {
	"append": {"use": "append"},
	"read": {"see": "inspect", "use": "read"},
	"as_of": {"use": "read"},
	"subscribe": {"use": "read"},
	"group": {"see": "inspect", "use": "consume", "change": "manage groups"},
	# To try a route is to read.
	"route": {"see": "inspect", "use": "read", "change": "manage routes"},
	# A timer and a snapshot are kept in events: to change one is to append, to look at one to read.
	"timer": {"use": "read", "change": "append"},
	"snapshot": {"see": "inspect", "use": "read", "change": "append"},
	"schema": {"see": "inspect", "change": "manage schemas"},
	"erase": {"change": "manage streams"},
	"admin": {"see": "monitor"},
	"policy": {"see": "see policies", "change": "manage policies"},
}

# What is done, where the action does not say it: it counts more, however far it goes.
done_by_operation := {
	"create_namespace": "manage namespaces",
	"delete_namespace": "manage namespaces",
	"tokens": "manage tokens",
	"create_token": "manage tokens",
	"revoke_token": "manage tokens",
	"audit": "see the audit",
}

known := done_by_operation[input.resource.operation] if input.action == "admin"

known := done[input.action][input.resource.reach] if not done_by_operation[input.resource.operation]

# What is asked for, in words. What no table has goes by the name of its operation.
verb := known

verb := replace(input.resource.operation, "_", " ") if not known

# Who may do it. What no table has may be done by whoever may do everything, however it is called.
default roles := ["admin"]

roles := able[known]

default allow := false

allow if {
	some role in roles
	role in input.subject.roles
}

reasons contains {"code": "role_missing", "msg": msg} if {
	not allow
	able_roles := concat(", ", roles)
	msg := sprintf("%q may not %s: it needs one of the roles %s", [input.subject.id, verb, able_roles])
}

decision := {"allow": allow, "reasons": reasons}
