package purge

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
)

// foresight is what the units of a preview found together.
type foresight struct {
	quote
	done, units int
	types       map[string]*row
	patients    map[string]row
	order       []string // the patients in the order of the call; of a holding by id
	common      map[string]common
	detached    map[string]bool
	dangling    map[string]bool
	holds       []standing
	more        bool // than a unit names of what would dangle
	did
}

// row is a line of what would be done.
type row struct {
	volume
	detached, dangling, kept, since int
}

// foresight adds up what the units of a preview found.
func (x *Purge) foresight(ctx context.Context, j job.Job) (s *foresight, err error) {
	plan, _, err := asked(j.Request)
	if err != nil {
		return nil, err
	}
	s = &foresight{
		quote: quote{plan, map[string]string{}}, types: map[string]*row{}, patients: map[string]row{},
		common: map[string]common{}, detached: map[string]bool{}, dangling: map[string]bool{},
	}
	err = x.units(ctx, j, func(u job.Unit, what did) error {
		s.LeftOut += what.LeftOut
		if u.Phase == purging {
			s.units++
		}
		if what.Foreseen != nil {
			s.add(u, what)
		}
		return nil
	})
	s.conclude()
	return s, err
}

// add adds what a unit found.
func (s *foresight) add(u job.Unit, what did) {
	f := what.Foreseen
	s.done++
	s.parts[partOf(u)] = f.Hash
	for typ, v := range f.Types {
		s.of(typ).volume = s.of(typ).add(v)
	}
	for _, c := range f.Common {
		s.common[c.ID] = s.common[c.ID].with(c)
	}
	note(s.detached, what.Detached)
	note(s.dangling, f.Dangling)
	s.more = s.more || len(f.Dangling) == maxDetached
	s.Named = union(s.Named, what.Named)
	s.Kept, s.Since = s.Kept+what.Kept, s.Since+what.Since
	for _, h := range f.Holds {
		if !slices.Contains(s.holds, h) {
			s.holds = append(s.holds, h)
		}
	}
	if p, err := patientOf(u); err == nil {
		s.order = append(s.order, p)
		s.patients[p] = row{f.volume(), len(what.Detached), len(f.Dangling), what.Kept, what.Since}
	}
	for p, v := range f.Patients {
		s.patients[p] = row{volume: s.patients[p].add(v)}
	}
}

// volume is all that a unit found.
func (s *foreseen) volume() (v volume) {
	for _, w := range s.Types {
		v = v.add(w)
	}
	for _, c := range s.Common {
		v = v.add(c.volume())
	}
	return v
}

func (c common) volume() volume { return volumeOf(slices.Collect(maps.Values(c.Versions)), c.Whole) }

// with is a resource with all that two units found of it.
func (c common) with(d common) common {
	all := maps.Clone(d.Versions)
	maps.Copy(all, c.Versions)
	return common{d.ID, c.Whole || d.Whole, all}
}

func note(in map[string]bool, names []string) {
	for _, name := range names {
		in[name] = true
	}
}

func (s *foresight) of(typ string) *row {
	if s.types[typ] == nil {
		s.types[typ] = &row{}
	}
	return s.types[typ]
}

// conclude adds what is of no unit alone.
func (s *foresight) conclude() {
	typeOf := func(name string) *row {
		typ, _, _ := strings.Cut(name, "/")
		return s.of(typ)
	}
	for id, c := range s.common {
		typeOf(id).volume = typeOf(id).add(c.volume())
	}
	for id := range s.detached {
		typeOf(id).detached++
	}
	for id := range s.dangling {
		typeOf(id).dangling++
	}
	if s.plan.Of == HoldingKind {
		s.order = slices.Sorted(maps.Keys(s.patients))
	}
}

// Preview shows a job of PreviewKind as a Parameters resource: the plan that
// can be quoted, and what would be done, in all, by type, and by patient.
func (x *Purge) Preview(ctx context.Context, j job.Job) ([]byte, error) {
	s, err := x.foresight(ctx, j)
	if err != nil {
		return nil, err
	}
	out := []parameter{{Name: "plan", ValueID: j.ID}, {Name: "transactionTime", ValueDateTime: millis(j.TransactionTime)}}
	if j.State == job.Succeeded {
		out = append(out, parameter{Name: "validUntil", ValueDateTime: millis(j.Expires)}, parameter{Name: "hash", ValueString: s.hash()})
	}
	out = append(out, parameter{Name: "total", Part: s.total().parts()})
	for _, typ := range slices.Sorted(maps.Keys(s.types)) {
		out = append(out, parameter{Name: "type", Part: append([]parameter{{Name: "type", ValueCode: typ}}, s.types[typ].parts()...)})
	}
	for _, p := range s.order[:min(len(s.order), MaxPatients)] {
		out = append(out, parameter{Name: "patient", Part: append([]parameter{{Name: "patientId", ValueID: p}}, s.patients[p].parts()...)})
	}
	for _, id := range s.Named[:min(len(s.Named), maxNamed)] {
		out = append(out, parameter{Name: "mayStillMention", ValueString: id})
	}
	for _, id := range slices.Sorted(maps.Keys(s.dangling))[:min(len(s.dangling), maxNamed)] {
		out = append(out, parameter{Name: "dangling", ValueString: id})
	}
	for _, h := range s.holds {
		out = append(out, parameter{Name: "hold", Part: h.parts()})
	}
	out = append(out, parameter{Name: "outcome", Resource: fhir.Outcome(s.issues(j)...)})
	return json.Marshal(parameters{ResourceType: "Parameters", Parameter: out})
}

func (s *foresight) total() row {
	t := row{kept: s.Kept, since: s.Since}
	for _, r := range s.types {
		t.volume = t.add(r.volume)
		t.detached, t.dangling = t.detached+r.detached, t.dangling+r.dangling
	}
	return t
}

func (r row) parts() []parameter {
	out := []parameter{number("resources", r.Resources), number("versions", r.Versions), number("bytes", r.Bytes)}
	for _, n := range []struct {
		name string
		n    int
	}{{"detached", r.detached}, {"dangling", r.dangling}, {"kept", r.kept}, {"writtenSince", r.since}} {
		if n.n > 0 {
			out = append(out, number(n.name, int64(n.n)))
		}
	}
	return out
}

func (h standing) parts() []parameter {
	out := []parameter{{Name: "id", ValueID: h.ID}, {Name: "on", ValueCode: string(h.On)}}
	if h.Subject != "" {
		out = append(out, parameter{Name: "subject", ValueID: h.Subject})
	}
	if h.Patient != "" {
		out = append(out, parameter{Name: "patientId", ValueID: h.Patient})
	}
	if !h.Until.IsZero() {
		out = append(out, parameter{Name: "until", ValueDateTime: h.Until.UTC().Format(time.RFC3339)})
	}
	return out
}

// issues say what the preview came to.
func (s *foresight) issues(j job.Job) []fhir.Issue {
	t := s.total()
	out := []fhir.Issue{inform("nothing was touched. %d resources, and %d versions of them and of others that name them, would be erased", t.Resources, t.Versions)}
	switch j.State {
	case job.Succeeded:
		out = append(out, inform("to do exactly that, or nothing, ask for the purge as you asked for this, with _plan=%s instead of _preview, until %s", j.ID, j.Expires.UTC().Format(time.RFC3339)))
	case job.Failed:
		out[0] = fhir.Issue{Severity: fhir.Erroneous, Code: fhir.Code(j.Error.Code), Diagnostics: j.Error.Message}
	default:
		out[0] = fhir.Issue{Severity: fhir.Warning, Code: fhir.CodeIncomplete, Diagnostics: fmt.Sprintf("%d of %d parts have been looked at", s.done, s.units)}
	}
	if n := len(s.order) - MaxPatients; n > 0 {
		out = append(out, inform("%d more patients are not listed", n))
	}
	if t.dangling > 0 {
		least := ""
		if s.more {
			least = "at least "
		}
		out = append(out, fhir.Issue{Severity: fhir.Warning, Code: fhir.CodeInformational, Diagnostics: fmt.Sprintf("%s%d resources that stay as they are would name what is gone", least, t.dangling)})
	}
	if len(s.holds) > 0 {
		out = append(out, fhir.Issue{Severity: fhir.Warning, Code: fhir.CodeConflict, Diagnostics: fmt.Sprintf("%d legal holds stand in the way: the purge would be refused until they have ended, or who runs this server has lifted them", len(s.holds))})
	}
	if s.LeftOut > 0 {
		out = append(out, s.passedOver())
	}
	return out
}
