# Who asks: which roles they have, and which tenant they are of.
package starter.subject

# The words of this bundle for what people do. Nexus does not know them. Where claims and data.json give roles, these alone
# count: neither can make an administrator.
business_roles := {"clerk", "auditor", "service", "personal_data"}

# What data.json says of them. The kind is a part of the key: a token may be called as somebody with a JWT is.
entry := data.directory[sprintf("%s:%s", [input.subject.kind, input.subject.id])]

# The roles of Nexus: admin, operator, writer, reader, monitor.
roles contains role if some role in input.subject.roles

roles contains role if {
	some role in entry.roles
	role in business_roles
}

roles contains role if {
	is_array(input.subject.claims.app_roles)
	some role in input.subject.claims.app_roles
	role in business_roles
}

# Issuers write a list of one as a text.
roles contains role if {
	role := input.subject.claims.app_roles
	role in business_roles
}

has_any(wanted) if {
	some role in wanted
	role in roles
}

tenant := entry.tenant

# Whoever signs tokens says whose they are, where data.json does not. A claim may be null: all who have that would be one
# tenant.
tenant := input.subject.claims.tenant if {
	not entry.tenant
	is_string(input.subject.claims.tenant)
}

# They run the store, and so they work for all tenants.
across_tenants if has_any({"admin", "operator"})

# Where no tag and no mask can be kept, what is there is for those to whom it would be shown without any.
sees_everything if {
	across_tenants
	has_any({"personal_data"})
}

# The tags that an event must have to be theirs. Who is of no tenant has no answer here, and is denied by whatever asks.
tags := [] if across_tenants

tags := [sprintf("tenant:%s", [tenant])] if not across_tenants
