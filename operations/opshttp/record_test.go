package opshttp_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/operations/job"

	"github.com/google/go-cmp/cmp"
)

var me = job.Owner{Client: "me"}

// recorded checks what was recorded since the last call; of jobs of kind, where
// an event names none.
func (w *world) recorded(what string, want ...job.Event) {
	w.Helper()
	for i := range want {
		want[i].Tenant = auth.DefaultTenant
		if want[i].Kind == "" {
			want[i].Kind = kind
		}
	}
	if diff := cmp.Diff(want, w.events); diff != "" {
		w.Errorf("%s: recorded (-want +got):\n%s", what, diff)
	}
	w.events = nil
}

func kickoff(w *world, path string) int {
	w.Helper()
	return w.do(get, path, "Prefer", "respond-async", "X-Client", "me/jo").Code
}

func TestAKickOffIsRecordedOnceWithWhoAndWhat(t *testing.T) {
	for _, announces := range []bool{false, true} {
		w := newWorld(t)
		w.announces = announces
		if status := kickoff(w, "/fhir/Group/g1/$work?_since=2020-01-01T00:00:00Z"); status != http.StatusAccepted {
			t.Fatal(status)
		}
		w.recorded("a kick-off", job.Event{
			Act: job.KickedOff, By: job.Owner{Client: "me", User: "jo"}, Job: "01JOB00001", Path: "Group/g1/$work",
		})
	}
}

func TestAKickOffThatCannotBeRecordedMakesNoJob(t *testing.T) {
	w := newWorld(t)
	w.announces, w.unwilling = true, errors.New("secret cause")
	r := w.do(get, "/fhir/$work", "Prefer", "respond-async")
	w.is("kick-off", r, http.StatusServiceUnavailable, "transient")
	if strings.Contains(r.Body.String(), "secret") || r.Header().Get("Retry-After") == "" {
		t.Errorf("%v %s", r.Header(), r.Body)
	}
	if w.ids > 0 {
		t.Error("a job was made")
	}
}

func TestAKickOffThatCameToNothingSaysSo(t *testing.T) {
	w := newWorld(t)
	w.announces, w.limited = true, true
	if status := kickoff(w, "/fhir/$work"); status != http.StatusTooManyRequests {
		t.Fatal(status)
	}
	by := job.Owner{Client: "me", User: "jo"}
	w.recorded("the limit",
		job.Event{Act: job.KickedOff, By: by, Job: "01JOB00001", Path: "$work"},
		job.Event{Act: job.KickedOff, By: by, Job: "01JOB00001", Path: "$work", Refused: true, Detail: "the job was not started"})

	w.fails = fhir.Errorf(fhir.Forbidden, "no")
	if status := kickoff(w, "/fhir/$work"); status != http.StatusForbidden {
		t.Fatal(status)
	}
	w.recorded("forbidden", job.Event{Act: job.KickedOff, By: by, Path: "$work", Refused: true, Detail: "not allowed"})

	w.fails = fhir.Errorf(fhir.Invalid, "no")
	kickoff(w, "/fhir/$work")
	w.recorded("a call that is wrong")
}

func TestAKickOffThatIsAnsweredWithAnEarlierJobNamesThatToo(t *testing.T) {
	w := newWorld(t)
	w.announces, w.announced = true, "new-"
	kickoff(w, "/fhir/$work")
	by := job.Owner{Client: "me", User: "jo"}
	w.recorded("a repeated kick-off",
		job.Event{Act: job.KickedOff, By: by, Job: "new-01JOB00001", Path: "$work"},
		job.Event{
			Act: job.KickedOff, By: by, Job: "01JOB00001", Path: "$work",
			Detail: "answered with the job that was started under this Idempotency-Key before",
		})
}

func TestADownloadIsRecordedWhenContentIsSent(t *testing.T) {
	w, path, _, tag := download(t)
	id := strings.Split(path, "/")[3]
	whole := job.Event{Act: job.Downloaded, By: me, Job: id, File: fileName}
	resumed := whole
	resumed.Resumed = true
	for _, c := range []struct {
		name    string
		method  string
		headers []string
		want    []job.Event
	}{
		{"whole", get, nil, []job.Event{whole}},
		{"compressed", get, []string{"Accept-Encoding", "gzip"}, []job.Event{whole}},
		{"the beginning", get, []string{"Range", "bytes=0-9"}, []job.Event{whole}},
		{"the rest", get, []string{"Range", "bytes=10-"}, []job.Event{resumed}},
		{"all but the first byte", get, []string{"Range", "bytes=1-"}, []job.Event{resumed}},
		{"several ranges", get, []string{"Range", "bytes=5-9,20-29"}, []job.Event{whole}},
		{"headers only", head, nil, nil},
		{"compressed headers only", head, []string{"Accept-Encoding", "gzip"}, nil},
		{"what the client has", get, []string{"If-None-Match", `"` + tag + `"`}, nil},
		{"a range that is none", get, []string{"Range", "bytes=9999999-"}, nil},
	} {
		w.do(c.method, path, c.headers...)
		w.recorded(c.name, c.want...)
	}
	w.do(get, path, "X-Client", "other")
	w.do(get, path+"x")
	w.recorded("files that are not there")
}

func TestADownloadThatCannotBeRecordedIsRefused(t *testing.T) {
	w, path, content, _ := download(t)
	w.unwilling = errors.New("disk full")
	for _, headers := range [][]string{nil, {"Accept-Encoding", "gzip"}, {"Range", "bytes=5-9"}} {
		r := w.do(get, path, headers...)
		w.is("download", r, http.StatusServiceUnavailable, "transient")
		for _, name := range []string{"ETag", "Content-Range", "Content-Disposition", "Content-Encoding", "Last-Modified"} {
			if got := r.Header().Get(name); got != "" {
				t.Errorf("%v: %s is %q", headers, name, got)
			}
		}
		if strings.Contains(r.Body.String(), content[:20]) {
			t.Error("content was sent")
		}
	}
}

func TestACancelIsRecordedBeforeItIsDone(t *testing.T) {
	w := newWorld(t)
	path := "/fhir/$work/" + w.in()
	w.unwilling = errors.New("disk full")
	w.is("delete", w.do(del, path), http.StatusServiceUnavailable, "transient")
	w.unwilling = nil
	if r := w.do(get, path); r.Code != http.StatusAccepted {
		t.Errorf("the job answers %d", r.Code)
	}
	w.do(del, path)
	w.recorded("a cancel", job.Event{Act: job.Dismissal, By: me, Job: "01JOB00001"})
	w.do(del, path)
	w.recorded("a second cancel")
}
