package storetest

import (
	"fmt"
	"slices"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
)

func listCases() []testCase {
	return []testCase{
		{"CountJobs counts the jobs of all tenants by kind and state until they are removed", countJobs},
		{"List gives the owner's jobs as they stand, the latest first", listOrder},
		{"List goes on below an id, in pages", listPages},
		{"List gives the owner's jobs only", listOwner},
		{"List leaves out dismissed jobs, and fills its page without them", listDismissed},
		{"List keeps jobs of every state and expired ones until they are removed", listStates},
	}
}

// listed names the jobs that List gives, in pages of n.
func (e *env) listed(t store.Tenant, who store.Owner, n int) []string {
	e.Helper()
	var ids []string
	for before := ""; ; before = ids[len(ids)-1] {
		page, err := e.List(e.ctx, t, who, before, n)
		e.ok("List", err)
		e.that(len(page) <= n, "%d jobs in a page of %d", len(page), n)
		if len(page) == 0 {
			return ids
		}
		for _, j := range page {
			ids = append(ids, j.ID)
		}
	}
}

// listOrder creates jobs in another order than that of their ids.
func listOrder(e *env) {
	var want []job.Job
	for _, kind := range []string{"export", "purge", "export", "import"} {
		want = append(want, e.newFor(north, ann(), kind))
	}
	for _, i := range []int{2, 0, 3, 1} {
		e.admit(want[i], store.Limit{})
	}
	want[1] = e.update(want[1], e.start)
	want[2] = e.update(want[2], e.failsBecause)
	slices.Reverse(want)
	got, err := e.List(e.ctx, north, ann(), "", 100)
	e.ok("List", err)
	e.same("all", got, want)
}

func listPages(e *env) {
	var want []string
	for range 7 {
		want = append(want, e.admit(e.newFor(north, ann(), "export"), store.Limit{}).ID)
		e.admit(e.newFor(north, bob(), "export"), store.Limit{})
	}
	slices.Reverse(want)
	for _, n := range []int{1, 2, 3, 7, 8} {
		e.same(fmt.Sprintf("jobs in pages of %d", n), e.listed(north, ann(), n), want)
	}
	e.ok("Remove", e.Remove(e.ctx, north, want[3]))
	page, err := e.List(e.ctx, north, ann(), want[3], 2)
	e.ok("List", err)
	e.that(len(page) == 2 && page[0].ID == want[4] && page[1].ID == want[5], "below an id that is gone: %+v", page)
	page, err = e.List(e.ctx, north, ann(), want[6], 2)
	e.ok("List", err)
	e.same("below the earliest", page, nil)
}

func listOwner(e *env) {
	theirs := make(map[store.Owner]string)
	for _, who := range []store.Owner{ann(), bob(), {Client: "app"}, {Client: "other", User: "ann"}, {User: "ann"}} {
		theirs[who] = e.admit(e.newFor(north, who, "export"), store.Limit{}).ID
	}
	elsewhere := e.admit(e.newFor(south, ann(), "export"), store.Limit{})
	for who, id := range theirs {
		e.same(fmt.Sprintf("jobs of %+v", who), e.listed(north, who, 9), []string{id})
	}
	e.same("another tenant's", e.listed(south, ann(), 9), []string{elsewhere.ID})
	e.same("of who has none", e.listed(south, bob(), 9), nil)
	e.same("of nobody", e.listed(north, store.Owner{}, 9), nil)
	e.same("in an unknown tenant", e.listed("nowhere", ann(), 9), nil)
}

func listDismissed(e *env) {
	var want []string
	for i := range 8 {
		j := e.admit(e.newFor(north, ann(), "export"), store.Limit{})
		switch i % 4 {
		case 0:
			want = append(want, j.ID)
			continue
		case 1:
			e.update(j, e.failsBecause)
		}
		e.update(j, e.dismissed)
	}
	slices.Reverse(want)
	for _, n := range []int{1, 2, 9} {
		e.same(fmt.Sprintf("jobs in pages of %d", n), e.listed(north, ann(), n), want)
	}
	page, err := e.List(e.ctx, north, ann(), "", 2)
	e.ok("List", err)
	e.same("jobs in the first page of two", len(page), 2)
}

func listStates(e *env) {
	e.clock.stop()
	var want []string
	for _, j := range e.inEachState(e.clock.Now()) {
		if j.Dismissed.IsZero() {
			want = append(want, j.ID)
		}
	}
	slices.Reverse(want)
	e.same("jobs", e.listed(north, somebody(), 3), want)
	e.clock.advance(48 * time.Hour)
	e.same("jobs, some of them expired", e.listed(north, somebody(), 3), want)
	e.ok("Remove", e.Remove(e.ctx, north, want[0]))
	e.same("jobs after a removal", e.listed(north, somebody(), 3), want[1:])
}

func countJobs(e *env) {
	counts := func() []store.JobCount {
		e.Helper()
		got, err := e.CountJobs(e.ctx)
		e.ok("CountJobs", err)
		for i := range got {
			got[i].Oldest = time.Time{}
		}
		return got
	}
	e.same("of an empty store", counts(), nil)
	first := e.create("export", unit("a", 0))
	e.createIn(south, "export", unit("a", 0))
	e.create("purge", unit("a", 0))
	gone := e.update(e.create("export", unit("a", 0)), func(j job.Job) (job.Job, error) { return j.Fail(e.clock.Now(), job.Reason{}) })
	gone = e.update(gone, func(j job.Job) (job.Job, error) { return j.Dismiss(e.clock.Now()) })
	e.same("counts", counts(), []store.JobCount{
		{Kind: "export", State: job.Failed, Jobs: 1}, {Kind: "export", State: job.Queued, Jobs: 2}, {Kind: "purge", State: job.Queued, Jobs: 1},
	})
	got, err := e.CountJobs(e.ctx)
	e.ok("CountJobs", err)
	e.that(got[1].Oldest.Equal(first.Created), "the oldest is of %v, want %v", got[1].Oldest, first.Created)
	e.ok("Remove", e.Remove(e.ctx, north, gone.ID))
	e.same("after Remove", len(counts()), 2)
}
