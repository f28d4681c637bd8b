package storetest

import (
	"fmt"
	"slices"

	"firebreak/operations/job"
	"firebreak/store"
)

func partCases() []testCase {
	return []testCase{
		{"parts come with the end of the attempt that wrote them, as they were", partRoundTrip},
		{"parts are listed in order of ID, in pages", partPages},
		{"a part is found by category, type and number once it has a number", partNumbers},
		{"a part that was written with a number is public at once", partNumbered},
		{"a dropped part leaves no record", partDrop},
		{"a part that joins others has their patients too", partJoins},
		{"an attempt that did not succeed leaves no parts", partOfFailed},
		{"parts are the job's own", partJobsApart},
		{"PartsHolding lists the parts of every job that hold a patient", partHolding},
		{"Voided lists the void parts that are public, forgotten ones too", partVoided},
	}
}

// part is a part that the attempt wrote, with resources of the patients.
func part(f store.Fence, id string, n int, patients ...string) job.Part {
	return job.Part{
		ID: id, Job: f.Job, Unit: f.Unit, Category: job.Output, Type: "Patient", N: n,
		Name:  fmt.Sprintf("%s/%s/%d/%s.ndjson", f.Job, f.Unit, f.Attempt, id),
		Count: 7, Size: 5 << 30, SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", Patients: patients,
	}
}

// written makes a job of a kind of its own whose one unit wrote the parts.
func (e *env) written(kind string, parts func(f store.Fence) []job.Part) (job.Job, []job.Part) {
	e.Helper()
	j := e.create(kind, unit("a", 0), unit("b", 1), unit("c", 2))
	_, f := e.claim(kind)
	want := parts(f)
	e.end(f, job.UnitEnd{State: job.Succeeded, Parts: want})
	for i := range want {
		want[i].Patients = nil // they are not read back
	}
	return j, want
}

// parts pages through the parts of a job.
func (e *env) parts(j job.Job) []job.Part {
	e.Helper()
	var all []job.Part
	for after := ""; ; after = all[len(all)-1].ID {
		page, err := e.PartsOf(e.ctx, store.Tenant(j.Tenant), j.ID, after, 2)
		e.ok("PartsOf", err)
		e.that(len(page) <= 2, "%d parts in a page of 2", len(page))
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

func partIDs(ps []job.Part) []string {
	ids := make([]string, len(ps))
	for i, p := range ps {
		ids[i] = p.ID
	}
	return ids
}

// holding names the parts that hold a patient of north, in order.
func (e *env) holding(patient string) []string {
	e.Helper()
	ps, err := e.PartsHolding(e.ctx, north, patient)
	e.ok("PartsHolding", err)
	names := make([]string, len(ps))
	for i, p := range ps {
		names[i] = p.Job + "/" + p.ID
	}
	slices.Sort(names)
	return names
}

func partRoundTrip(e *env) {
	j := e.create("export", unit("a", 0))
	_, f := e.claim("export")
	want := []job.Part{part(f, "1", 0, "p1"), part(f, "2", 4)}
	want[1].Category, want[1].Type, want[1].Count, want[1].Size = job.Errors, "OperationOutcome", 0, 0
	e.same("parts before the end", e.parts(j), nil)
	e.same("parts of a patient before the end", e.holding("p1"), nil)
	e.end(f, job.UnitEnd{State: job.Succeeded, Counts: job.Counts{Resources: 7}, Parts: want})
	want[0].Patients = nil
	e.same("parts", e.parts(j), want)
	e.same("the tally", e.tally(j).Done.Resources, int64(7))
	got, err := e.PartsHolding(e.ctx, north, "p1")
	e.ok("PartsHolding", err)
	e.same("the part of a patient", got, want[:1])
}

func partPages(e *env) {
	j, _ := e.written("export", func(f store.Fence) []job.Part {
		return []job.Part{part(f, "e", 0), part(f, "b", 0), part(f, "a", 0), part(f, "d", 0), part(f, "c", 0)}
	})
	e.same("parts", partIDs(e.parts(j)), []string{"a", "b", "c", "d", "e"})
	page, err := e.PartsOf(e.ctx, north, j.ID, "b", 2)
	e.ok("PartsOf", err)
	e.same("two after b", partIDs(page), []string{"c", "d"})
	page, err = e.PartsOf(e.ctx, north, j.ID, "e", 2)
	e.ok("PartsOf", err)
	e.same("after the last", page, nil)
	page, err = e.PartsOf(e.ctx, north, "unknown", "", 2)
	e.ok("PartsOf", err)
	e.same("parts of no job", page, nil)
}

// findPart returns the ID of a public part, "" if there is none.
func (e *env) findPart(j job.Job, name job.PartName) string {
	e.Helper()
	p, err := e.Part(e.ctx, store.Tenant(j.Tenant), j.ID, name)
	if err != nil {
		e.is("Part", err, store.ErrNotFound)
		return ""
	}
	e.that(job.PartName{Category: p.Category, Type: p.Type, N: p.N} == name, "Part gives %+v", p)
	return p.ID
}

func partNumbers(e *env) {
	j, _ := e.written("export", func(f store.Fence) []job.Part {
		deleted := part(f, "deleted", 0)
		deleted.Category, deleted.Type = job.Deleted, "Bundle"
		return []job.Part{part(f, "x", 0), part(f, "y", 0), deleted, part(f, "hidden", 0)}
	})
	e.same("before it has a number", e.findPart(j, job.PartName{Category: job.Output, Type: "Patient", N: 1})+e.findPart(j, job.PartName{Category: job.Output, Type: "Patient", N: 0}), "")
	_, f := e.claim("export")
	numbers := map[string]int{"y": 1, "x": 2, "deleted": 1, "new": 3}
	e.end(f, job.UnitEnd{State: job.Succeeded, Numbers: numbers, Parts: []job.Part{part(f, "new", 0)}})
	for n, want := range []string{"", "y", "x", "new", ""} {
		e.same(fmt.Sprintf("Patient %d", n), e.findPart(j, job.PartName{Category: job.Output, Type: "Patient", N: n}), want)
	}
	e.same("Bundle 1", e.findPart(j, job.PartName{Category: job.Deleted, Type: "Bundle", N: 1}), "deleted")
	e.same("of another category", e.findPart(j, job.PartName{Category: job.Errors, Type: "Patient", N: 1}), "")
	e.same("of another type", e.findPart(j, job.PartName{Category: job.Output, Type: "Bundle", N: 1}), "")
	found := make(map[string]int)
	for _, p := range e.parts(j) {
		found[p.ID] = p.N
	}
	e.same("numbers of the listed", found, map[string]int{"x": 2, "y": 1, "deleted": 1, "new": 3, "hidden": 0})
}

func partNumbered(e *env) {
	j, parts := e.written("export", func(f store.Fence) []job.Part { return []job.Part{part(f, "x", 1), part(f, "y", 2)} })
	got, err := e.Part(e.ctx, north, j.ID, job.PartName{Category: job.Output, Type: "Patient", N: 2})
	e.ok("Part", err)
	e.same("part 2", got, parts[1])
}

// partDrop puts another part in the dropped one's public place.
func partDrop(e *env) {
	j, _ := e.written("export", func(f store.Fence) []job.Part {
		return []job.Part{part(f, "x", 1, "p1"), part(f, "y", 2, "p1", "p2"), part(f, "z", 3, "p2")}
	})
	_, f := e.claim("export")
	e.end(f, job.UnitEnd{State: job.Succeeded, Drop: []job.Part{{ID: "x"}, {ID: "y"}, {ID: "unknown"}}, Parts: []job.Part{part(f, "joined", 1, "p1")}})
	e.same("parts", partIDs(e.parts(j)), []string{"joined", "z"})
	e.same("Patient 1", e.findPart(j, job.PartName{Category: job.Output, Type: "Patient", N: 1}), "joined")
	e.same("Patient 2", e.findPart(j, job.PartName{Category: job.Output, Type: "Patient", N: 2}), "")
	e.same("parts of p1", e.holding("p1"), []string{j.ID + "/joined"})
	e.same("parts of p2", e.holding("p2"), []string{j.ID + "/z"})
}

func partJoins(e *env) {
	j, parts := e.written("export", func(f store.Fence) []job.Part {
		return []job.Part{part(f, "x", 0, "p1", "p2"), part(f, "y", 0, "p2", "p3"), part(f, "z", 0, "p4")}
	})
	_, f := e.claim("export")
	joined := part(f, "joined", 0, "p5")
	joined.Joins = []string{"x", "y"}
	e.end(f, job.UnitEnd{State: job.Succeeded, Drop: parts[:2], Parts: []job.Part{joined}})
	for _, p := range []string{"p1", "p2", "p3", "p5"} {
		e.same("parts of "+p, e.holding(p), []string{j.ID + "/joined"})
	}
	e.same("parts of p4", e.holding("p4"), []string{j.ID + "/z"})
	joined.Patients, joined.Joins = nil, nil
	e.same("parts", e.parts(j), []job.Part{joined, parts[2]})
}

func partOfFailed(e *env) {
	j := e.create("export", unit("a", 0))
	for _, s := range []job.State{job.Queued, job.Failed} {
		_, f := e.claim("export")
		e.end(f, job.UnitEnd{State: s, Parts: []job.Part{part(f, "x", 1, "p1")}})
		e.same("parts", e.parts(j), nil)
		e.same("parts of the patient", e.holding("p1"), nil)
	}
}

func partJobsApart(e *env) {
	same := func(f store.Fence) []job.Part { return []job.Part{part(f, "x", 1, "p1")} }
	a, want := e.written("export", same)
	b, _ := e.written("purge", same)
	_, f := e.claim("purge")
	e.end(f, job.UnitEnd{State: job.Succeeded, Drop: []job.Part{{ID: "x"}}})
	e.same("parts of the first", e.parts(a), want)
	e.same("the first's public part", e.findPart(a, job.PartName{Category: job.Output, Type: "Patient", N: 1}), "x")
	e.same("parts of the second", e.parts(b), nil)
	e.same("the second's public part", e.findPart(b, job.PartName{Category: job.Output, Type: "Patient", N: 1}), "")
	e.same("parts of the patient", e.holding("p1"), []string{a.ID + "/x"})
}

func partHolding(e *env) {
	a, _ := e.written("export", func(f store.Fence) []job.Part {
		return []job.Part{part(f, "x", 1, "p1", "p2", "P1"), part(f, "y", 0, "p2"), part(f, "z", 2)}
	})
	b, _ := e.written("purge", func(f store.Fence) []job.Part { return []job.Part{part(f, "x", 0, "p2")} })
	e.same("of p1", e.holding("p1"), []string{a.ID + "/x"})
	want := []string{a.ID + "/x", a.ID + "/y", b.ID + "/x"}
	slices.Sort(want)
	e.same("of p2", e.holding("p2"), want)
	e.same("of P1", e.holding("P1"), []string{a.ID + "/x"})
	e.same("of another", e.holding("p"), nil)
}

// voided lists the void parts of a job that are public.
func (e *env) voided(j job.Job) []string {
	e.Helper()
	ps, err := e.Voided(e.ctx, store.Tenant(j.Tenant), j.ID)
	e.ok("Voided", err)
	return partIDs(ps)
}

func partVoided(e *env) {
	j, was := e.written("export", func(f store.Fence) []job.Part {
		return []job.Part{part(f, "w", 4, "p2"), part(f, "z", 1, "p1"), part(f, "x", 2, "p1"), part(f, "y", 0, "p1"), part(f, "v", 3, "p1")}
	})
	e.same("before", e.voided(j), nil)
	_, f := e.eraser()
	ps, err := e.Void(e.ctx, f, []string{"p1"})
	e.ok("Void", err)
	e.same("void", e.voided(j), []string{"v", "x", "z"})
	got, err := e.Voided(e.ctx, north, j.ID)
	e.ok("Voided", err)
	e.same("one", got[0], was[4])
	e.ok("Forget", e.Forget(e.ctx, north, ps))
	e.same("forgotten", e.voided(j), []string{"v", "x", "z"})
	got, err = e.Voided(e.ctx, north, j.ID)
	e.ok("Voided", err)
	for i, n := range []int{3, 2, 1} {
		e.that(got[i].N == n && got[i].Type == "Patient" && got[i].Category == job.Output && got[i].Name == "", "a place is %+v", got[i])
	}
	for _, of := range []struct {
		t  store.Tenant
		id string
	}{{south, j.ID}, {"nowhere", j.ID}, {north, "unknown"}} {
		got, err := e.Voided(e.ctx, of.t, of.id)
		e.ok("Voided", err)
		e.same("of nobody", got, nil)
	}
}
