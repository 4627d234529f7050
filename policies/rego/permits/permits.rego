# Building permits: a clerk sees those of one group, over every door, and appends nothing. Others work as their role says.
package permits

# The tag of what clerks may see. A tag is compared as it stands, blanks and all.
clerks_see := "group:Group 2"

# A claim says it, or a list of roles does. Whoever is a clerk is held to that whatever else they are: so every form of
# it counts, also a list of one that the issuer writes as a text.
clerk if "clerk" in input.subject.roles

clerk if input.subject.claims.role == "clerk"

clerk if input.subject.claims.roles == "clerk"

clerk if "clerk" in input.subject.claims.roles

has_any(wanted) if {
	some role in wanted
	role in input.subject.roles
}

# Whether somebody may see events, and which of them.
may_read if clerk

may_read if has_any({"admin", "writer", "reader"})

default tags := []

tags := [clerks_see] if clerk

may_append if {
	not clerk
	has_any({"admin", "writer"})
}

administrates if {
	not clerk
	has_any({"admin"})
}
