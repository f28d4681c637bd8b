package search

import (
	"slices"
	"sync"

	"firebreak/fhir/r4"
)

// Place says what the name of a member tells about the objects in it. The walk
// knows names, not types, beyond what the search parameters need, so that it
// finds the references in contained resources, extensions, Bundles and in
// elements that R4 does not know. Whoever takes references out of resources
// reads them in the same way.
type Place uint8

// What a name can tell.
const (
	Attachment    Place = 1 << iota // its url is an Attachment's
	PlainURI                        // its member reference is a uri, not a Reference's literal
	Resource                        // it is a resource
	MaybeResource                   // it is a resource if it says so
)

// PlaceOf is what a name of a member tells; 0: nothing.
func PlaceOf(name string) Place { return places().find([]byte(name)) }

// places has the names that tell something. A name under which R4 has both
// Expressions, whose reference is a uri, and References counts as References:
// a term too many is better than one too few.
var places = sync.OnceValue(func() *table[Place] {
	found := map[string]Place{"contained": Resource, "resource": MaybeResource, "education": PlainURI}
	for _, name := range r4.Members("Attachment") {
		found[name] |= Attachment
	}
	references := r4.Members("Reference")
	for _, name := range r4.Members("Expression") {
		if !slices.Contains(references, name) {
			found[name] |= PlainURI
		}
	}
	all := &table[Place]{}
	for name, p := range found {
		all.put(name, p)
	}
	return all
})
