package purge_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/fhir"
	"firebreak/operations/purge"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

// shown is a preview as a client reads it.
type shown struct {
	Plan, Hash string
	Total      map[string]int64
	Types      map[string]map[string]int64
	Patients   map[string]map[string]int64
	Mention    []string
	Dangling   []string
	Holds      []string
	Says       string
}

// asShown reads the Parameters resource of a preview.
func asShown(t *testing.T, body string) shown {
	t.Helper()
	type parameter struct {
		Name, ValueID, ValueCode, ValueString string
		ValueInteger                          int64
		Resource                              json.RawMessage
		Part                                  []struct {
			Name, ValueID, ValueCode string
			ValueInteger             int64
		}
	}
	var doc struct{ Parameter []parameter }
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	s := shown{Types: map[string]map[string]int64{}, Patients: map[string]map[string]int64{}}
	for _, p := range doc.Parameter {
		name, row := "", map[string]int64{}
		for _, part := range p.Part {
			if part.ValueID+part.ValueCode != "" {
				name += part.ValueID + part.ValueCode
			} else {
				row[part.Name] = part.ValueInteger
			}
		}
		switch p.Name {
		case "plan":
			s.Plan = p.ValueID
		case "hash":
			s.Hash = p.ValueString
		case "total":
			s.Total = row
		case "type":
			s.Types[name] = row
		case "patient":
			s.Patients[name] = row
		case "mayStillMention":
			s.Mention = append(s.Mention, p.ValueString)
		case "dangling":
			s.Dangling = append(s.Dangling, p.ValueString)
		case "hold":
			s.Holds = append(s.Holds, name)
		case "outcome":
			s.Says = string(p.Resource)
		}
	}
	return s
}

// everything is every version that there is, with its body.
func (w *world) everything() map[string]string {
	w.Helper()
	at, err := w.store.Barrier(w.Context(), tenant, time.Millisecond)
	w.ok("barrier", err)
	sel := store.Selection{At: at, Every: true}
	ranges, err := w.store.Split(w.Context(), tenant, sel, 1<<30)
	w.ok("split", err)
	all := map[string]string{}
	for _, r := range ranges {
		w.ok("scan", w.store.Scan(w.Context(), tenant, sel, r, "", func(v *store.Version) error {
			all[fmt.Sprintf("%s %d", v.ID, v.N)] = string(v.Body)
			return nil
		}))
	}
	return all
}

// less is what is not there any more: versions, bytes, and resources of which
// nothing is left, by type.
func less(before, after map[string]string) map[string]map[string]int64 {
	left := map[string]bool{}
	for name := range after {
		id, _, _ := strings.Cut(name, " ")
		left[id] = true
	}
	types, gone := map[string]map[string]int64{}, map[string]bool{}
	for name, body := range before {
		if _, there := after[name]; there {
			continue
		}
		id, _, _ := strings.Cut(name, " ")
		typ := idOf(id).Type
		if types[typ] == nil {
			types[typ] = map[string]int64{"resources": 0}
		}
		types[typ]["versions"]++
		types[typ]["bytes"] += int64(len(body))
		if !left[id] && !gone[id] {
			types[typ]["resources"]++
			gone[id] = true
		}
	}
	return types
}

func preview(c purge.Call) purge.Call {
	c.Params = append(slices.Clone(c.Params), fhir.Parameter{Name: "_preview", Value: "true"})
	return c
}

func quoting(c purge.Call, plan string) purge.Call {
	c.Params = append(slices.Clone(c.Params), fhir.Parameter{Name: "_plan", Value: plan})
	return c
}

// shown asks for a preview, which touches nothing.
func (w *world) shown(c purge.Call) shown {
	w.Helper()
	before := w.everything()
	s := asShown(w.T, w.succeeded(w.start(preview(c))))
	if diff := cmp.Diff(before, w.everything()); diff != "" {
		w.Errorf("the preview changed what is stored:\n%s", diff)
	}
	return s
}

// erases is of a row what is erased.
func erases(rows map[string]map[string]int64) map[string]map[string]int64 {
	out := map[string]map[string]int64{}
	for typ, row := range rows {
		if row["versions"] > 0 {
			out[typ] = map[string]int64{"resources": row["resources"], "versions": row["versions"], "bytes": row["bytes"]}
		}
	}
	return out
}
