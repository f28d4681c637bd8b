package purge_test

import (
	"fmt"
	"slices"
	"strings"
)

// naming is what a version with a body may be found by.
func naming(ref, body, target string) bool {
	typ, id, _ := strings.Cut(target, "/")
	return strings.Contains(body, `"`+target+`"`) || strings.HasPrefix(ref, "Bundle/") && strings.Contains(body, fmt.Sprintf(`{"resourceType":%q,"id":%q`, typ, id))
}

// refs are the resources of versions.
func refs(versions map[string]string) map[string]bool {
	out := map[string]bool{}
	for at := range versions {
		ref, _, _ := strings.Cut(at, " ")
		out[ref] = true
	}
	return out
}

// names tells whether a version of a resource names one of those.
func names(versions map[string]string, ref string, those map[string]bool) bool {
	for at, body := range versions {
		for target := range those {
			if strings.HasPrefix(at, ref+" ") && naming(ref, body, target) {
				return true
			}
		}
	}
	return false
}

// wrongDangling tells what of the dangling names nothing that is not there, and
// what names something that is gone and is not among them.
func (p *population) wrongDangling(s shown, before, after map[string]string) (out []string) {
	there, gone, absent := refs(after), refs(before), refs(before)
	for n := range 3 { // that was meant, and perhaps was never there
		absent[fmt.Sprintf("Patient/r%d-%d", p.round, n+1)] = true
	}
	for ref := range there {
		delete(gone, ref)
		delete(absent, ref)
	}
	for _, ref := range s.Dangling {
		if !names(after, ref, absent) {
			out = append(out, ref+" names nothing that is not there")
		}
	}
	for ref := range there {
		mine := strings.Contains(ref, fmt.Sprintf("/r%d-", p.round))
		if mine && !slices.Contains(s.Dangling, ref) && names(map[string]string{ref + " now": p.body(ref)}, ref, gone) {
			out = append(out, ref+" names what is gone and was not shown")
		}
	}
	slices.Sort(out)
	return out
}
