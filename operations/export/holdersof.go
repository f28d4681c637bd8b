package export

import (
	"maps"
	"slices"

	"firebreak/store"
)

// Holders names by whom the files of exports are found that hold a version, or
// tell of a tombstone: see holders. No name is given twice. None: no record says
// which files do.
func Holders(v *store.Version) []string {
	h := holders{}
	if v.Deleted {
		h.tombstone(v)
	} else {
		h.version(v)
	}
	return slices.Sorted(maps.Keys(h))
}
