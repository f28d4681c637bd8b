package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// looks is what is shown of a purge while it goes on, and is always to be true.
type looks struct {
	*testing.T
	mu     sync.Mutex
	shown  map[string]shownPurge
	last   []byte // the last answer
	number int
}

func newLooks(t *testing.T) *looks { return &looks{T: t, shown: map[string]shownPurge{}} }

// shownPurge is what a look shows of one patient.
type shownPurge struct {
	Status                         string
	Counted                        bool // both counts are there
	Total, Purged, Detached, Since int64
	Error                          string
}

// watch looks all the time until stop, or until the child dies. ended is closed
// when the purge has ended.
func (l *looks) watch(base, status string) (ended <-chan struct{}, stop func()) {
	ctx, cancel := context.WithCancel(l.Context())
	over, left := make(chan struct{}), make(chan struct{})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	go func() {
		defer close(left)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			answered, final := l.look(ctx, client, base+status)
			if final {
				close(over)
			}
			if !answered || final {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return over, func() {
		cancel()
		<-left
		client.CloseIdleConnections()
	}
}

// look looks once.
func (l *looks) look(ctx context.Context, client *http.Client, url string) (answered, final bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		l.Error(err)
		return false, false
	}
	res, err := client.Do(req)
	if err != nil {
		return false, false // the child is gone, or this is over
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // it was read
	switch {
	case err != nil:
		return false, false
	case res.StatusCode == http.StatusAccepted:
		return true, false
	case res.StatusCode != http.StatusOK:
		l.Errorf("a look at the purge: %d %s", res.StatusCode, body)
		return false, false
	}
	return true, l.note(body)
}

// note holds a look against those before, and tells whether the job has ended.
func (l *looks) note(body []byte) (final bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = body
	l.number++
	now, final := resultsIn(l.T, body)
	for patient, n := range now {
		was := l.shown[patient]
		switch {
		case n.Purged < was.Purged, n.Counted && n.Purged > n.Total:
			l.Errorf("%s was %+v, and is %+v", patient, was, n)
		case was.Status == "completed" && (n.Status != "completed" || n.Purged != was.Purged):
			l.Errorf("%s was completed as %+v, and is %+v", patient, was, n)
		case n != was && n.Status == "completed" && n.Purged != n.Total:
			l.Errorf("%s is completed as %+v", patient, n)
		}
		l.shown[patient] = n
	}
	return final
}

// resultsIn reads what is shown of each patient. What is not a Parameters
// resource is that of a purge which has ended.
func resultsIn(t *testing.T, body []byte) (all map[string]shownPurge, final bool) {
	var p parametersOfPurge
	if err := json.Unmarshal(body, &p); err != nil {
		t.Errorf("%v: %s", err, body)
	}
	if p.Parameter == nil {
		return nil, true
	}
	all = map[string]shownPurge{}
	for _, result := range p.Parameter {
		if result.Name == "outcome" {
			final = true
			continue
		}
		var one shownPurge
		var patient string
		for _, part := range result.Part {
			switch part.Name {
			case "patientId":
				patient = part.ValueID
			case "status":
				one.Status = part.ValueCode
			case "totalResourcesCount":
				one.Total = part.ValueInteger
			case "purgedResourcesCount":
				one.Purged, one.Counted = part.ValueInteger, true
			case "detachedResourcesCount":
				one.Detached = part.ValueInteger
			case "writtenSinceCount":
				one.Since = part.ValueInteger
			case "error":
				one.Error = part.ValueString
			}
		}
		all[patient] = one
	}
	return all, final
}

// tells holds the last look to what became of the place.
func (l *looks) tells(truth loss) {
	l.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, text := range []string{
		fmt.Sprintf("patients are gone: %d resources, and %d versions of", truth.Resources, truth.Versions),
		fmt.Sprintf("%d resources are about others and named", truth.Detached),
	} {
		if !bytes.Contains(l.last, []byte(text)) {
			l.Errorf("%q is not in\n%s", text, l.last)
		}
	}
	all, _ := resultsIn(l.T, l.last)
	if all == nil {
		return // it is not shown by patient
	}
	var purged, detached int64
	for patient, one := range all {
		if one.Status != "completed" {
			l.Errorf("%s is %+v", patient, one)
		}
		purged, detached = purged+one.Purged, detached+one.Detached
	}
	if purged != truth.Resources {
		l.Errorf("%d resources are gone, and of all patients %d are counted\n%s", truth.Resources, purged, l.last)
	}
	// What is about others may name several of the patients. The Group is
	// detached by the last unit, and is no patient's.
	if detached+1 < truth.Detached || all["ada"].Detached > 5 || all["ben"].Detached > 2 || all["nobody"].Detached > 0 {
		l.Errorf("%d resources were detached; the patients are %+v", truth.Detached, all)
	}
}
