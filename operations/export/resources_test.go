package export_test

import (
	"fmt"
	"slices"
	"strings"
)

// resource is a resource with what an export must know of it, said by the test
// and not read from its body.
type resource struct {
	typ, id, body string
	patients      []string // in whose compartments it is
	members       []string // of a Group: the patients that an export follows
	nested        []string // of a Group: the Groups that it follows
	others        []string // of a Group: its members that are neither, by reference
	targets       []string // of a Provenance
	refs          []string // what it refers to that is context
}

func (r resource) ref() string { return r.typ + "/" + r.id }

func patient(id string, links ...string) resource {
	var link strings.Builder
	for _, other := range links {
		fmt.Fprintf(&link, `,{"other":{"reference":"Patient/%s"},"type":"seealso"}`, other)
	}
	body := fmt.Sprintf(`{"resourceType":"Patient","id":%q,"name":[{"text":"é <&>"}]`, id)
	if len(links) > 0 {
		body += `,"link":[` + link.String()[1:] + `]`
	}
	return resource{typ: "Patient", id: id, body: body + "}", patients: append([]string{id}, links...)}
}

// observation is about a patient; "" for nobody.
func observation(id, subject, value string) resource {
	r := resource{typ: "Observation", id: id}
	r.body = fmt.Sprintf(`{"resourceType":"Observation","id":%q,"valueString":%q`, id, value)
	if subject != "" {
		r.body += `,"subject":{"reference":"Patient/` + subject + `"}`
		r.patients = []string{subject}
	}
	r.body += "}"
	return r
}

// performed is an observation of nobody that a patient made.
func performed(id, performer string) resource {
	body := fmt.Sprintf(`{"resourceType":"Observation","id":%q,"performer":[{"reference":"Patient/%s"}]}`, id, performer)
	return resource{typ: "Observation", id: id, body: body, patients: []string{performer}}
}

func appointment(id string, patients ...string) resource {
	var actors []string
	for _, p := range patients {
		actors = append(actors, fmt.Sprintf(`{"actor":{"reference":"Patient/%s"},"status":"accepted"}`, p))
	}
	body := fmt.Sprintf(`{"resourceType":"Appointment","id":%q,"participant":[%s]}`, id, strings.Join(actors, ","))
	return resource{typ: "Appointment", id: id, body: body, patients: patients}
}

func organization(id string) resource {
	return resource{typ: "Organization", id: id, body: fmt.Sprintf(`{"resourceType":"Organization","id":%q,"name":"n"}`, id)}
}

func outcome(id string) resource {
	return resource{typ: "OperationOutcome", id: id, body: fmt.Sprintf(`{"resourceType":"OperationOutcome","id":%q,"issue":[]}`, id)}
}

// group has members that are followed.
func group(id string, members ...string) resource { return groupWith(id, members) }

// groupWith has further entries of Group.member, which are not followed.
func groupWith(id string, members []string, others ...string) resource {
	entries := slices.Clone(others)
	for _, m := range members {
		entries = append(entries, `{"entity":{"reference":"Patient/`+m+`"}}`)
	}
	r := resource{typ: "Group", id: id, patients: slices.Clone(members), members: members}
	r.body = fmt.Sprintf(`{"resourceType":"Group","id":%q,"type":"person","actual":true,"member":[%s]}`, id, strings.Join(entries, ","))
	for _, o := range others {
		if _, ref, ok := strings.Cut(o, `"Patient/`); ok {
			other, _, _ := strings.Cut(ref, `"`)
			r.patients = append(r.patients, other)
		}
	}
	return r
}

// thing is a resource that is in no compartment.
func thing(typ, id, value string) resource {
	return resource{typ: typ, id: id, body: fmt.Sprintf(`{"resourceType":%q,"id":%q,"implicitRules":"urn:%s"}`, typ, id, value)}
}

// referring is an observation about a patient that refers to more.
func referring(id, subject string, refs ...string) resource {
	r := observation(id, subject, "v")
	r.refs = refs
	r.body = strings.TrimSuffix(r.body, "}") + `,"extension":[` + references(`{"url":"u","valueReference":{"reference":%q}}`, refs) + `]}`
	return r
}

func references(format string, refs []string) string {
	out := make([]string, len(refs))
	for i, ref := range refs {
		out[i] = fmt.Sprintf(format, ref)
	}
	return strings.Join(out, ",")
}

// provenance is about targets, and refers to more as to who did it.
func provenance(id string, targets []string, who ...string) resource {
	r := resource{typ: "Provenance", id: id, targets: targets, refs: slices.Concat(targets, who)}
	r.body = fmt.Sprintf(`{"resourceType":"Provenance","id":%q,"target":[%s],"agent":[%s]}`, id,
		references(`{"reference":%q}`, targets), references(`{"who":{"reference":%q}}`, who))
	for _, target := range targets {
		if p, ok := strings.CutPrefix(target, "Patient/"); ok {
			p, _, _ = strings.Cut(p, "/")
			r.patients = append(r.patients, p)
		}
	}
	return r
}

// groupOf is a group of whatever can be a member, by reference.
func groupOf(id string, refs ...string) resource {
	r := resource{typ: "Group", id: id}
	for _, ref := range refs {
		switch typ, id, _ := strings.Cut(ref, "/"); typ {
		case "Patient":
			r.members, r.patients = append(r.members, id), append(r.patients, id)
		case "Group":
			r.nested = append(r.nested, id)
		default:
			r.others, r.refs = append(r.others, ref), append(r.refs, ref)
		}
	}
	r.body = fmt.Sprintf(`{"resourceType":"Group","id":%q,"member":[%s]}`, id, references(`{"entity":{"reference":%q}}`, refs))
	return r
}
