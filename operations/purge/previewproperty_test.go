package purge_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/operations/purge"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// elements are, by type, what a generated resource may have; %s is a reference.
var elements = map[string][]string{
	"Patient":           {`"link":[{"other":%s,"type":"seealso"}]`, `"managingOrganization":%s`},
	"Observation":       {`"subject":%s`, `"performer":[%s]`, `"performer":[%s,%s]`, `"focus":[%s]`},
	"Provenance":        {`"target":[%s]`, `"target":[%s,%s]`, `"agent":[{"who":%s}]`},
	"DocumentReference": {`"subject":%s`, `"content":[{"attachment":{"url":"Binary/%s"}}]`, `"author":[%s]`},
	"Binary":            {`"securityContext":%s`},
	"Device":            {`"patient":%s`, `"parent":%s`},
	"AuditEvent":        {`"entity":[{"what":%s}]`, `"agent":[{"who":%s,"requestor":true}]`},
	"Group":             {`"member":[{"entity":%s}]`, `"member":[{"entity":%s},{"entity":%s}]`, `"managingEntity":%s`},
	"Appointment":       {`"participant":[{"actor":%s}]`, `"participant":[{"actor":%s},{"actor":%s}]`},
	"List":              {`"subject":%s`, `"entry":[{"item":%s},{"item":%s}]`},
	"Bundle":            {`"entry":[{"resource":{"resourceType":"Patient","id":%q}}]`},
	"Organization":      {`"extension":[{"url":"http://a.example/of","valueReference":%s}]`},
}

// population makes resources that name each other, of few ids.
type population struct {
	*world
	r      *rapid.T
	round  int
	owners []auth.Principal
	made   int
}

func (p *population) id() string {
	return fmt.Sprintf("r%d-%d", p.round, rapid.IntRange(1, 3).Draw(p.r, "id"))
}

// patient favours what most others name.
func (p *population) patient() string {
	return "Patient/" + p.id()
}

func (p *population) ref() string {
	if rapid.IntRange(0, 2).Draw(p.r, "not of a Patient at 2") < 2 {
		return p.patient()
	}
	return rapid.SampledFrom(slices.Sorted(maps.Keys(elements))).Draw(p.r, "named") + "/" + p.id()
}

// fill writes an element with references, or ids where it has these.
func (p *population) fill(element string) string {
	for strings.Contains(element, "%") {
		at := strings.IndexByte(element, '%')
		with := `{"reference":"` + p.ref() + `","display":"x"}`
		switch {
		case element[at+1] == 'q':
			with = `"` + p.id() + `"`
		case strings.HasSuffix(element[:at], "Binary/"):
			with = p.id()
		}
		element = element[:at] + with + element[at+2:]
	}
	return element
}

// write writes a version of something, or deletes it.
func (p *population) write() {
	typ := rapid.SampledFrom(slices.Sorted(maps.Keys(elements))).Draw(p.r, "type")
	if rapid.IntRange(0, 3).Draw(p.r, "a Patient at 0") == 0 {
		typ = "Patient"
	}
	id := p.id()
	if rapid.IntRange(0, 6).Draw(p.r, "deletes at 0") == 0 {
		p.r.Logf("delete %s/%s", typ, id)
		p.remove(typ + "/" + id)
		return
	}
	p.made++
	has, names := []string{fmt.Sprintf(`"resourceType":%q,"id":%q,"language":"x%d"`, typ, id, p.made)}, map[string]bool{}
	for _, element := range elements[typ] {
		name, _, _ := strings.Cut(element, ":")
		if !names[name] && rapid.Bool().Draw(p.r, "has "+name) {
			has, names[name] = append(has, p.fill(element)), true
		}
	}
	who := rapid.SampledFrom(p.owners).Draw(p.r, "owner")
	body := "{" + strings.Join(has, ",") + "}"
	p.r.Logf("%s puts %s", who.User, body)
	p.owns(who, body)
}

// asking is a purge that can be previewed, and quoted.
type asking struct {
	name      string
	ofRecords bool // and not of what somebody owns
	start     func(params ...fhir.Parameter) (job.Job, error)
}

func given(pairs ...string) (out []fhir.Parameter) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, fhir.Parameter{Name: pairs[i], Value: pairs[i+1]})
	}
	return out
}

func (p *population) asking() asking {
	if rapid.IntRange(0, 3).Draw(p.r, "a holding at 0") == 0 {
		return p.ofHolding()
	}
	var c purge.Call
	switch rapid.IntRange(0, 3).Draw(p.r, "of whom") {
	case 0:
		c.Patient = p.id()
	case 1:
		c.Group = p.id()
	default:
		c.Bulk = true
		for range rapid.IntRange(1, 4).Draw(p.r, "patients") {
			c.Params = append(c.Params, given("patientId", p.id())...)
		}
		if rapid.Bool().Draw(p.r, "an unknown one too") {
			c.Params = append(c.Params, given("patientId", "nobody")...)
		}
	}
	c.Params = append(c.Params, given("_shared", rapid.SampledFrom([]string{"detach", "delete", "keep"}).Draw(p.r, "shared"))...)
	c.Params = append(c.Params, given("_audit", rapid.SampledFrom([]string{"keep", "purge"}).Draw(p.r, "audit"))...)
	return asking{fmt.Sprintf("%+v", c), true, func(params ...fhir.Parameter) (job.Job, error) {
		c := c
		c.Params = append(slices.Clone(c.Params), params...)
		return p.purge.Kickoff(p.Context(), auth.Local(), c)
	}}
}

func (p *population) ofHolding() asking {
	who := rapid.SampledFrom(p.owners).Draw(p.r, "of whom")
	var all []fhir.Parameter
	if rapid.Bool().Draw(p.r, "of some types") {
		types := rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(elements))), 1, 4, rapid.ID).Draw(p.r, "types")
		all = append(all, given("_type", strings.Join(types, ","))...)
	}
	if rapid.IntRange(0, 2).Draw(p.r, "of before now at 0") == 0 {
		all = append(all, given("_before", p.now().Format(time.RFC3339Nano))...)
	}
	return asking{fmt.Sprintf("%s %+v", who.User, all), false, func(params ...fhir.Parameter) (job.Job, error) {
		return p.purge.KickoffHolding(p.Context(), who, purge.HoldingCall{Params: append(slices.Clone(all), params...)})
	}}
}

// change does something between a preview and the purge.
func (p *population) change() string {
	kind := rapid.SampledFrom([]string{"nothing", "elsewhere", "a write", "a purge"}).Draw(p.r, "change")
	switch kind {
	case "elsewhere":
		p.owns(as("app", "carl"), fmt.Sprintf(`{"resourceType":"Observation","id":"of-carl","code":{"text":"%d"}}`, p.round))
	case "a write":
		p.write()
	case "a purge":
		a := p.asking()
		p.r.Logf("between: %s", a.name)
		if j, err := a.start(); err == nil {
			p.done(j)
		}
	}
	p.r.Logf("changed: %s", kind)
	return kind
}

// newer counts by type what has a version that was not there before.
func newer(before, after map[string]string) map[string]int64 {
	out := map[string]int64{}
	for at := range after {
		if _, was := before[at]; !was {
			typ, _, _ := strings.Cut(at, "/")
			out[typ]++
		}
	}
	return out
}

func detachedOf(rows map[string]map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for typ, row := range rows {
		if n := row["detached"]; n > 0 {
			out[typ] = n
		}
	}
	return out
}

// asShown tells how what was done differs from what was shown: what was there
// then, and just before, and is there now.
func (s shown) differs(then, before, after map[string]string) string {
	diff := cmp.Diff(less(before, after), erases(s.Types)) + cmp.Diff(newer(before, after), detachedOf(s.Types))
	for at := range before {
		_, is := after[at]
		if was, there := then[at]; !is && (!there || was != before[at]) {
			diff += fmt.Sprintf("%s is gone, and was not there when it was shown\n", at)
		}
	}
	sum := map[string]int64{}
	for _, row := range s.Types {
		for name, n := range row {
			sum[name] += n
		}
	}
	for name, n := range s.Total {
		if name != "kept" && name != "writtenSince" && sum[name] != n {
			diff += fmt.Sprintf("in total %d of %s, by type %d\n", n, name, sum[name])
		}
	}
	return diff
}

// Whatever is stored, whoever asks for what, and whatever happens between: a
// preview touches nothing, and the purge that quotes it does what it has shown,
// or nothing.
func TestWhateverIsStoredAPurgeDoesAsItsPreviewHasShownOrNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	round := 0
	rapid.Check(t, func(r *rapid.T) {
		round++
		p := &population{world: w, r: r, round: round, owners: []auth.Principal{as("app", fmt.Sprint("ann", round)), as("app", fmt.Sprint("bob", round))}}
		for range rapid.IntRange(1, 30).Draw(r, "writes") {
			p.write()
		}
		if rapid.IntRange(0, 4).Draw(r, "purged before at 0") == 0 {
			w.purged(p.id())
		}
		p.previewed()
	})
}

func (p *population) previewed() {
	a := p.asking()
	then := p.everything()
	j, err := a.start(given("_preview", "true")...)
	if fhir.KindOf(err) == fhir.NotFound { // the Group
		return
	}
	p.ok("kick-off of "+a.name, err)
	p.r.Logf("asked: %s", a.name)
	s := asShown(p.T, p.done(j))
	p.untouched("the preview", then)
	kind := p.change()
	before := p.everything()
	if did, tally := p.quotes(a, s); did {
		p.didAll(a, s, tally, then, before)
		if wrong := p.wrongDangling(s, before, p.everything()); kind == "nothing" && len(wrong) > 0 {
			p.r.Fatalf("dangling: %v", wrong)
		}
		p.notTwice(a, s)
		return
	}
	p.untouched("the purge that failed", before)
	if kind == "nothing" || kind == "elsewhere" {
		p.r.Fatalf("the plan was not true any more after %s", kind)
	}
	p.wasRight(a, s, then, before)
}

func (p *population) untouched(what string, before map[string]string) {
	if diff := cmp.Diff(before, p.everything()); diff != "" {
		p.r.Fatalf("%s touched something:\n%s", what, diff)
	}
}

// didAll sees that what was done, and is counted, is what was shown.
func (p *population) didAll(a asking, s shown, tally job.Erased, then, before map[string]string) {
	if diff := s.differs(then, before, p.everything()); diff != "" {
		p.r.Fatalf("the purge did (- what, + than what was shown):\n%s", diff)
	}
	// Of what is detached from several patients it counts the versions between.
	if tally.Resources != s.Total["resources"] || tally.Versions < s.Total["versions"] {
		p.r.Fatalf("it counts %+v; %v was shown", tally, s.Total)
	}
	if wrong := s.wrongPatients(a); len(wrong) > 0 {
		p.r.Fatalf("by patient: %v", wrong)
	}
}

// notTwice sees that a plan that was followed is not true any more, unless it
// showed nothing.
func (p *population) notTwice(a asking, s shown) {
	after := p.everything()
	if again, _ := p.quotes(a, s); again && s.Total["versions"] > 0 {
		p.r.Fatalf("the plan was true twice")
	}
	p.untouched("the second purge", after)
}

// wasRight sees that a plan that was refused was not true: what the purge does
// without it is not what was shown.
func (p *population) wasRight(a asking, s shown, then, before map[string]string) {
	j, err := a.start()
	if err != nil {
		return
	}
	p.done(j)
	if s.differs(then, before, p.everything()) == "" {
		p.r.Fatalf("the plan was refused though it was true")
	}
}

// done is succeeded, which tells what was drawn.
func (p *population) done(j job.Job) string {
	if j = p.ended(j); j.State != job.Succeeded {
		p.r.Fatalf("the job is %s: %+v", j.State, j.Error)
	}
	return p.outcome(j)
}

// quotes tells whether the purge that quotes a preview succeeded or was refused,
// and what it counts as erased.
func (p *population) quotes(a asking, s shown) (did bool, erased job.Erased) {
	j, err := a.start(given("_plan", s.Plan)...)
	if err != nil {
		if kind := fhir.KindOf(err); kind != fhir.NotFound && kind != fhir.Conflict {
			p.r.Fatalf("the purge is refused: %v", err)
		}
		return false, erased
	}
	j = p.ended(j)
	if j.State == job.Failed && j.Error.Code != string(fhir.CodeConflict) && j.Error.Code != string(fhir.CodeNotFound) || !j.State.Final() {
		p.r.Fatalf("the job is %s: %+v", j.State, j.Error)
	}
	tally, err := p.store.Tally(p.Context(), tenant, j.ID)
	p.ok("count", err)
	return j.State == job.Succeeded, tally.Erased
}

// wrongPatients tells which patients have more than there is in total, or less if
// there is one alone.
func (s shown) wrongPatients(a asking) (out []string) {
	for id, row := range s.Patients {
		for name, n := range row {
			if total := s.Total[name]; n > total || len(s.Patients) == 1 && a.ofRecords && n != total {
				out = append(out, fmt.Sprintf("%s has %d %s of %d", id, n, name, total))
			}
		}
	}
	return out
}
