# What of events may be seen, by whichever door they come.
package starter.reads

import data.starter.subject

allowed if {
	subject.has_any({"admin", "operator", "writer", "reader", "clerk", "auditor", "service"})
	subject.tags
	not input.resource.system
}

# In the streams of the system the same data lie at other places, where no mask finds them: in snapshots, and in what was
# asked of these rules.
allowed if subject.sees_everything

# Data that say who a person is.
personal := ["/customer/name", "/customer/email"]

# They are shown to those whose work needs them, and not to whoever runs the store.
default mask := []

mask := personal if not subject.has_any({"personal_data"})

obligations := {"tags_all": subject.tags, "mask": mask}
