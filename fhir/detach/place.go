package detach

import (
	"slices"
	"sync"

	"firebreak/fhir/r4"
)

// place says what the name of a member tells about the objects in it, in the
// way that search reads them for search.Ref.
type place uint8

const (
	attachment    place = 1 << iota // its url is an Attachment's
	plainURI                        // its member reference is a uri, not a Reference's literal
	resource                        // it is a resource
	maybeResource                   // it is a resource if it says so
)

// places has the names that tell something. A name under which R4 has both
// Expressions, whose reference is a uri, and References counts as References.
var places = sync.OnceValue(func() map[string]place {
	found := map[string]place{"contained": resource, "resource": maybeResource, "education": plainURI}
	for _, name := range r4.Members("Attachment") {
		found[name] |= attachment
	}
	references := r4.Members("Reference")
	for _, name := range r4.Members("Expression") {
		if !slices.Contains(references, name) {
			found[name] |= plainURI
		}
	}
	return found
})
