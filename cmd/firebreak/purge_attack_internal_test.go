package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"firebreak/operations/job"
	"firebreak/store"

	"github.com/tidwall/gjson"
)

// bare is a world without resources, and with the texts of n patients.
func bare(t *testing.T, g ground, n int) *world {
	t.Helper()
	return emptyWorld(t, g.fresh(t), 1, n, 0)
}

// Who are purged one after the other leave what named them both as who are
// purged together: not at all.
func TestAProvenanceOfTwoPatientsGoesWithTheSecond(t *testing.T) {
	for what, purges := range map[string][][]string{
		"together": {{"a", "b"}}, "one after the other": {{"a"}, {"b"}},
	} {
		w := bare(t, onSQLite(), 1)
		for _, id := range []string{"a", "b"} {
			w.put("Patient/"+id, "")
			w.put("Observation/of-"+id, `,"status":"final","subject":{"reference":"Patient/`+id+`"}`)
		}
		w.put("Provenance/both", `,"target":[{"reference":"Observation/of-a"},{"reference":"Observation/of-b"}],"signature":[{"data":"`+encoded(w.say(0, "a signature"))+`"}]`)
		for _, ids := range purges {
			var pairs []string
			for _, id := range ids {
				pairs = append(pairs, "patientId", id)
			}
			w.bulkPurged(pairs...)
		}
		if a := w.get("/Provenance/both"); a.status != http.StatusNotFound {
			t.Errorf("%s: the Provenance is %d %s", what, a.status, a.body)
		}
		w.look(what, all(1))
	}
}

// What a client said when it asked for an export is a parameter of the job. The
// URL it asked with is another matter: the manifest has to say it.
func TestNothingOfAPatientIsLeftInTheParametersOfAnEarlierExport(t *testing.T) {
	for what, ask := range map[string]func(w *world, text string) answer{
		"in an Idempotency-Key": func(w *world, text string) answer {
			return w.get("/Patient/$export", "Prefer", "respond-async", "Idempotency-Key", text)
		},
		"in the display of a patient": func(w *world, text string) answer {
			return w.do(http.MethodPost, "/Patient/$export", `{"resourceType":"Parameters","parameter":[{"name":"patient","valueReference":{"reference":"Patient/a","display":"`+text+`"}}]}`, "Prefer", "respond-async")
		},
		"in the path": func(w *world, text string) answer {
			_, _ = w.get("/Patient/"+text), w.get("/Patient?name="+text)
			return w.get("/Patient/$export", "Prefer", "respond-async")
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := bare(t, onSQLite(), 1)
			w.put("Patient/a", `,"name":[{"family":"`+w.say(0, "a name")+`"}]`)
			a := ask(w, w.canaries[0])
			w.is(what, a, http.StatusAccepted)
			w.is(what, w.finished(a.header.Get("Content-Location")), http.StatusOK)
			w.bulkPurged("patientId", "a")
			w.look(what, all(1))
		})
	}
}

// What is of a patient who has no Patient is purged as well.
func TestTheRecordOfAPatientWhoWasNeverStoredGoes(t *testing.T) {
	w := bare(t, onSQLite(), 1)
	w.put("Observation/o", `,"status":"final","subject":{"reference":"Patient/never"},"valueString":"`+w.say(0, "a value")+`"`)
	w.put("Binary/b", `,"contentType":"text/plain","data":"`+encoded(w.say(0, "a Binary"))+`"`)
	w.put("Media/m", `,"status":"completed","subject":{"reference":"Patient/never"},"content":{"url":"Binary/b"}`)
	if got := saidGone(w.bulkPurged("patientId", "never")); got != 3 {
		t.Errorf("%d resources are said to be gone", got)
	}
	w.gone404("Observation/o", "Binary/b", "Media/m")
	w.look("after the purge", all(1))
}

func TestARecordOfThousandsOfVersionsGoes(t *testing.T) { purgesThousands(t, onSQLite(), 1100) }

func TestOnMongoARecordOfThousandsOfVersionsGoes(t *testing.T) { purgesThousands(t, onMongo(t), 1100) }

// purgesThousands has more versions of one resource than one commit erases, and
// more resources.
func purgesThousands(t *testing.T, g ground, n int) {
	w := bare(t, g, 1)
	w.put("Patient/a", "")
	w.put("Patient/b", "")
	var clients sync.WaitGroup
	each := func(typ, id, format string, versions bool) {
		clients.Go(func() {
			for at := range n {
				name := id
				if !versions {
					name = fmt.Sprint(id, at)
				}
				a := w.do(http.MethodPut, "/"+typ+"/"+name, fmt.Sprintf(`{"resourceType":%q,"id":%q,%s}`, typ, name, fmt.Sprintf(format, w.say(0, fmt.Sprint(at)))))
				if a.status != http.StatusOK && a.status != http.StatusCreated {
					w.Errorf("PUT: %s", a)
				}
			}
		})
	}
	each("Observation", "versions", `"subject":{"reference":"Patient/a"},"valueString":%q`, true)
	each("Condition", "many-", `"subject":{"reference":"Patient/a"},"note":[{"text":%q}]`, false)
	each("List", "names", `"entry":[{"item":{"reference":"Patient/a","display":%q}},{"item":{"reference":"Patient/b"}}]`, true)
	each("Task", "shared-", `"for":{"reference":"Patient/b"},"focus":{"reference":"Patient/a","display":%q}`, false)
	clients.Wait()
	said := w.bulkPurged("patientId", "a", "_verify", "full")
	if got := saidGone(said); got != int64(n+2) {
		t.Errorf("%d resources are said to be gone, of %d", got, n+2)
	}
	w.look("after the purge", all(1))
	for _, ref := range []string{"List/names", "Task/shared-0", fmt.Sprint("Task/shared-", n-1)} {
		if a := w.get("/" + ref); a.status != http.StatusOK || !strings.Contains(a.body, "masked") || !strings.Contains(a.body, "Patient/b") {
			t.Errorf("%s is %s", ref, a)
		}
	}
}

func TestWhatIsWrittenWhileAPurgeRunsIsNotInItsWay(t *testing.T) { purgesUnderWrites(t, onSQLite()) }

func TestOnMongoWhatIsWrittenWhileAPurgeRunsIsNotInItsWay(t *testing.T) {
	purgesUnderWrites(t, onMongo(t))
}

// purgesUnderWrites has a List, which names the patient, written all the time.
func purgesUnderWrites(t *testing.T, g ground) {
	w := bare(t, g, 1)
	w.put("Patient/a", `,"name":[{"family":"`+w.say(0, "a name")+`"}]`)
	for at := range 200 {
		w.put(fmt.Sprint("Observation/o", at), `,"status":"final","subject":{"reference":"Patient/a"},"valueString":"`+w.say(0, "a value")+`"`)
	}
	list := func(text string) answer {
		return w.do(http.MethodPut, "/List/l", `{"resourceType":"List","id":"l","entry":[{"item":{"reference":"Patient/a","display":"`+text+`"}}]}`)
	}
	for range 20 {
		list(w.say(0, "a display"))
	}
	done := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if a := list("written while it runs"); a.status != http.StatusOK {
					w.Errorf("PUT: %s", a)
					return
				}
			}
		}
	})
	status := w.bulkPurging(patientIDs("a"))
	// What the writer had not written by the kick-off may hold no canary.
	said := w.purgeEnded(status)
	close(done)
	writing.Wait()
	if r := resultsOf(said); len(r) != 1 || r[0].status != "completed" {
		t.Errorf("the purge says %s", said)
	}
	if !strings.Contains(said, "written after") {
		t.Errorf("what was written since is not counted: %s", said)
	}
	w.look("after the purge", all(1))
	w.gone404("Patient/a", "Observation/o0")
}

// A download that goes on while its file is purged does not end.
func TestADownloadThatIsUnderWayBreaksOff(t *testing.T) {
	w := bare(t, onSQLite(), 1)
	big := strings.Repeat("0123456789abcdef", 7<<16)
	w.put("Patient/a", "")
	for at := range 5 {
		w.put(fmt.Sprint("Observation/o", at), `,"subject":{"reference":"Patient/a"},"valueString":"`+big+`"`)
	}
	a := w.finished(w.kickoff("/$export?_type=Observation"))
	url := gjson.Get(a.body, "output.0.url").String()
	size := gjson.Get(a.body, "output.0.extension.*.size").Int()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	w.ok(err)
	res, err := w.client.Do(r)
	w.ok(err)
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	if _, err := in.ReadByte(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	w.bulkPurged("patientId", "a")
	t.Logf("the purge took %v, while %d bytes were on their way", time.Since(begun), size)
	n, err := io.Copy(io.Discard, in)
	if err == nil {
		t.Errorf("the download ended well, with %d bytes", n+1)
	}
	w.is("the file", w.get(url), http.StatusGone)
}

// A misspelt parameter of a purge is not passed over, whatever the client says
// of its own care.
func TestAPurgeIsNeverLenient(t *testing.T) {
	w := bare(t, onSQLite(), 0)
	w.put("Patient/a", "")
	for _, path := range []string{"/Patient/a/$purge", "/Patient/$bulk-purge"} {
		body := parametersOf("_shard", "keep")
		if strings.Contains(path, "bulk") {
			body = parametersOf("_shard", "keep", "patientId", "a")
		}
		w.is(path, w.do(http.MethodPost, path, body, "Prefer", "respond-async, handling=lenient"), http.StatusBadRequest)
	}
	w.is("the Patient", w.get("/Patient/a"), http.StatusOK)
}

// What one detached is in the way of no look: here a report names what named
// an Encounter of the patient.
func TestTheLookAtEveryBodyPassesOverWhatWasDetached(t *testing.T) {
	for what, others := range map[string][]string{
		"a report of an Observation that named an Encounter": {
			`Observation/of-b,"status":"final","subject":{"reference":"Patient/b"},"encounter":{"reference":"Encounter/e"}`,
			`DiagnosticReport/r,"status":"final","subject":{"reference":"Patient/b"},"result":[{"reference":"Observation/of-b"}]`,
		},
		"a mother who is linked to the child": {
			`Observation/of-b,"status":"final","subject":{"reference":"Patient/b"}`,
			`Patient/b,"link":[{"other":{"reference":"Patient/a"},"type":"seealso"}]`,
		},
	} {
		w := bare(t, onSQLite(), 1)
		w.put("Patient/a", `,"name":[{"family":"`+w.say(0, "a name")+`"}]`)
		w.put("Patient/b", "")
		w.put("Encounter/e", `,"status":"finished","subject":{"reference":"Patient/a"}`)
		for _, other := range others {
			ref, body, _ := strings.Cut(other, ",")
			typ, id, _ := strings.Cut(ref, "/")
			if a := w.do(http.MethodPut, "/"+ref, fmt.Sprintf(`{"resourceType":%q,"id":%q,%s}`, typ, id, body)); a.status >= 300 {
				t.Fatal(a)
			}
		}
		said := w.bulkPurged("patientId", "a", "_verify", "full")
		if strings.Contains(said, `"incomplete"`) {
			t.Errorf("%s: the purge says %s", what, said)
		}
		w.look(what, all(1))
	}
}

// Each kind of place by itself, so that it is seen which one a purge does not
// find.
func TestNothingIsLeftInAnyKindOfPlace(t *testing.T) {
	for _, p := range places() {
		for _, verify := range []string{"index", "full"} {
			t.Run(p.name+", verified by "+verify, func(t *testing.T) {
				w := emptyWorld(t, onSQLite().fresh(t), 1, 3, 0)
				w.alone = p.name != "the Patient"
				w.fillPlaces(func(name string) bool { return name == p.name })
				w.some(1 << 20)
				w.holds(0)
				w.heard(w.bulkPurged("patientId", w.id(0, "pt"), "_verify", verify, "_audit", "purge"))
				if strings.Contains(w.said, `"incomplete"`) {
					t.Errorf("the purge says %s", w.said)
				}
				w.expect([]int{0}, "detach")
				w.holds(1)
				w.nothingElse()
				w.look("after the purge", []int{0})
			})
		}
	}
}

// A Patient who is linked to the one who is purged is somebody else, a deleted
// one too.
func TestTheRecordOfADeletedPatientWhoIsLinkedStays(t *testing.T) {
	for _, shared := range []string{"detach", "delete"} {
		w := bare(t, onSQLite(), 1)
		w.put("Patient/child", `,"name":[{"family":"`+w.say(0, "a name")+`"}]`)
		w.put("Patient/mother", `,"link":[{"other":{"reference":"Patient/child"},"type":"seealso"}]`)
		w.put("Observation/hers", `,"status":"final","subject":{"reference":"Patient/mother"}`)
		w.put("Condition/hers", `,"subject":{"reference":"Patient/mother"}`)
		w.is("DELETE", w.do(http.MethodDelete, "/Patient/mother", ""), http.StatusNoContent)
		if n := saidGone(w.bulkPurged("patientId", "child", "_shared", shared)); n > 2 {
			t.Errorf("%s: %d resources are gone", shared, n)
		}
		w.is(shared+": the mother's Observation", w.get("/Observation/hers"), http.StatusOK)
		w.is(shared+": the mother's Condition", w.get("/Condition/hers"), http.StatusOK)
		w.look(shared, all(1))
	}
}

// slowVoid is a store that voids no files until it may.
type slowVoid struct {
	store.Store
	voiding chan struct{}
	may     chan struct{}
}

func (s slowVoid) Void(ctx context.Context, f store.Fence, patients []string, these ...job.Part) ([]job.Part, error) {
	select {
	case s.voiding <- struct{}{}:
	default:
	}
	select {
	case <-s.may:
		return s.Store.Void(ctx, f, patients, these...)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A purge that is cancelled when all was erased, and before the files were
// removed, is ended by the next one.
func TestFilesThatACancelledPurgeLeftGoWithTheNextOne(t *testing.T) {
	place := onSQLite().fresh(t)
	o := onData(place.Data)
	st, dir, _ := opened(t, place)
	slow := slowVoid{Store: st, voiding: make(chan struct{}, 1), may: make(chan struct{})}
	srv, err := assemble(t.Context(), o, slog.New(slog.DiscardHandler), slow, dir)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{site: runSite(t, srv), place: place, canaries: []string{"Kestrel0123456789abcdef"}, purged: make([]bool, 1)}
	w.put("Patient/a", `,"name":[{"family":"`+w.say(0, "a name")+`"}]`)
	w.put("Patient/b", "")
	w.put("Encounter/e", `,"status":"finished","subject":{"reference":"Patient/a"}`)
	w.put("Observation/o", `,"status":"final","subject":{"reference":"Patient/b"},"encounter":{"reference":"Encounter/e","display":"`+w.say(0, "a display")+`"}`)
	w.is("the export", w.finished(w.kickoff("/$export")), http.StatusOK)
	status := w.bulkPurging(patientIDs("a"))
	<-slow.voiding
	w.is("DELETE", w.do(http.MethodDelete, status, ""), http.StatusAccepted)
	close(slow.may)
	w.bulkPurged("patientId", "a")
	w.look("after the second purge", all(1))
}

// A Binary that others' documents refer to as well is shared, and the look at
// every body finds nothing wrong with that.
func TestABinaryOfTwoDocumentsStaysAndThePurgeEnds(t *testing.T) {
	for _, verify := range []string{"index", "full"} {
		w := bare(t, onSQLite(), 1)
		for _, id := range []string{"a", "b"} {
			w.put("Patient/"+id, "")
			w.put("DocumentReference/of-"+id, `,"status":"current","subject":{"reference":"Patient/`+id+`"},"content":[{"attachment":{"url":"Binary/leaflet"}}]`)
		}
		w.put("Observation/o", `,"subject":{"reference":"Patient/a"},"valueString":"`+w.say(0, "a value")+`"`)
		w.put("Binary/leaflet", `,"contentType":"text/plain","data":"`+encoded("a leaflet")+`"`)
		said := w.bulkPurged("patientId", "a", "_verify", verify)
		if strings.Contains(said, `"incomplete"`) || saidGone(said) != 3 {
			t.Errorf("_verify=%s: the purge says %s\n%s", verify, said, w.log)
		}
		w.is("the Binary", w.get("/Binary/leaflet"), http.StatusOK)
		w.look("_verify="+verify, all(1))
	}
}
