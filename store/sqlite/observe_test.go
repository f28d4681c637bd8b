package sqlite_test

import (
	"sync"
	"testing"
	"time"

	"firebreak/operations/job"
	"firebreak/store"
	"firebreak/store/sqlite"

	"github.com/google/go-cmp/cmp"
)

func TestEachCommitIsSeenWithItsRequestsAndBytes(t *testing.T) {
	var mu sync.Mutex
	requests, bytes, negative := 0, 0, false
	s, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir(), Now: time.Now, Observe: func(n, b int, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		requests, bytes, negative = requests+n, bytes+b, negative || took < 0 || n < 1
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	want := 0
	var writers sync.WaitGroup
	for _, id := range []string{"a", "b", "c", "d"} {
		p := patient(t, id, 100)
		want += len(p.Resource.Body)
		writers.Go(func() {
			if err := commit(t, s, p); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	absent := patient(t, "a", 5)
	absent.Expect = store.Absent
	if err := commit(t, s, absent); err == nil {
		t.Error("a conflict went through")
	}
	mu.Lock()
	defer mu.Unlock()
	if requests != 4 || bytes != want || negative {
		t.Errorf("%d requests with %d bytes, want 4 with %d", requests, bytes, want)
	}
}

func TestJobsAreCountedByKindAndState(t *testing.T) {
	s := at(t, t.TempDir())
	count := func() []store.JobCount {
		got, err := s.CountJobs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := count(); len(got) != 0 {
		t.Errorf("an empty store has %+v", got)
	}
	first := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.FixedZone("", 3600))
	for _, j := range []job.Job{
		{ID: "2", Kind: "export", Tenant: "a", State: job.Queued, Created: first.Add(time.Hour)},
		{ID: "1", Kind: "export", Tenant: "b", State: job.Queued, Created: first},
		{ID: "3", Kind: "export", Tenant: "a", State: job.Running, Created: first},
		{ID: "4", Kind: "dig", Tenant: "a", State: job.Queued, Created: first},
	} {
		j.Request = []byte(`{}`)
		if _, err := s.Create(t.Context(), j, nil, store.Limit{}); err != nil {
			t.Fatal(err)
		}
	}
	want := []store.JobCount{
		{Kind: "dig", State: job.Queued, Jobs: 1, Oldest: first},
		{Kind: "export", State: job.Queued, Jobs: 2, Oldest: first},
		{Kind: "export", State: job.Running, Jobs: 1, Oldest: first},
	}
	if diff := cmp.Diff(want, count()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
