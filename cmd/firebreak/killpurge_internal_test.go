package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/operations/certificate"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/google/go-cmp/cmp"
)

// purging is a purge that is asked for once, whatever becomes of the processes
// that work at it.
type purging struct {
	*testing.T
	purgeTemplate         // what it began with
	place         storage // where it goes on
	call          purgeCall
	status        string // where it is polled, below the base, once the kick-off was acknowledged
	unheard       bool   // a kick-off was sent that nobody answered
	looks         *looks
	from          string                // what a child worked through
	says          certificate.Statement // its certificate, once it has ended
}

// purge begins in a copy of the template.
func (tpl purgeTemplate) purge(t *testing.T, call purgeCall) *purging {
	t.Helper()
	return &purging{T: t, purgeTemplate: tpl, place: tpl.apart(t), call: call, looks: newLooks(t)}
}

func (k *purging) ok(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// do asks a child; false when it did not answer.
func (k *purging) do(method, url, body string) (told, bool) {
	k.Helper()
	ctx, cancel := context.WithTimeout(k.Context(), killPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	k.ok(err)
	if body != "" {
		req.Header.Set("Content-Type", "application/fhir+json")
		req.Header.Set("Prefer", "respond-async")
		req.Header.Set("Idempotency-Key", k.call.key)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return told{}, false
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	return told{res.StatusCode, res.Header.Get("Content-Location"), got}, err == nil
}

// kickoff asks for the purge, unless that was acknowledged before.
func (k *purging) kickoff(base string) bool {
	k.Helper()
	if k.status != "" {
		return true
	}
	res, ok := k.do(http.MethodPost, base+k.call.path, k.call.body)
	if !ok {
		k.unheard = true
		return false
	}
	if res.status != http.StatusAccepted {
		k.Fatalf("kick-off: %d\n%s", res.status, res.body)
	}
	k.status = strings.TrimPrefix(res.at, base)
	return true
}

// id is the job's.
func (k *purging) id() string { return idOf(strings.TrimSuffix(k.status, "/result")) }

// serves starts a child, and waits until it serves.
func (k *purging) serves(o order) (c *victim, base string, ok bool) {
	k.Helper()
	o.storage, o.Ledger = k.place, killedLedger(k.place)
	c = startVictim(k.T, o)
	base, ok = c.await("serves")
	return c, strings.TrimSpace(base), ok
}

// disturb has a child work at the purge until it is killed or done.
func (k *purging) disturb(s strike) *victim {
	k.Helper()
	c, base, ok := k.serves(order{Point: s.point, Call: s.call})
	defer c.end()
	if !ok || !k.kickoff(base) {
		return c
	}
	ended, stop := k.looks.watch(base, k.status)
	defer stop()
	for units := 0; ; {
		select {
		case <-ended:
			return c
		case line, ok := <-c.told:
			word, _ := c.hears(line)
			switch {
			case !ok:
				return c
			case word == "unit":
				if units++; units == s.units {
					c.kill()
				}
			}
		}
	}
}

// recover has a child end the purge that others were killed at, and gives what
// it came to. Unless nobody knows whether it was asked for, nobody asks again.
func (k *purging) recover() versions {
	k.Helper()
	if k.call.path == ofHolding().path {
		return k.recoverHolding()
	}
	return k.recoverAs(order{})
}

// recoverAs is recover with a child that has an order.
func (k *purging) recoverAs(o order) versions {
	k.Helper()
	c, base, ok := k.serves(o)
	if !ok {
		c.end()
		k.Fatalf("no server comes up over what was left\n%s", c.stderr)
	}
	if !k.kickoff(base) {
		k.Fatalf("no answer\n%s", c.stderr)
	}
	k.untilEnd(base)
	if names := holding(k.T, k.filesFolder()); len(names) > 0 {
		k.Errorf("when the purge has ended, files of exports: %q", names)
	}
	k.exports(base)
	if c.end() || strings.Contains(c.stderr.String(), "level=ERROR") {
		k.Errorf("the child says\n%s", c.stderr)
	}
	k.from = strings.Join(c.units, ", ")
	return k.left()
}

// untilEnd polls until the purge has ended.
func (k *purging) untilEnd(base string) {
	k.Helper()
	ended, stop := k.looks.watch(base, k.status)
	defer stop()
	patience := time.NewTimer(killPatience)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C:
		k.Fatalf("the purge does not end:\n%s", k.looks.last)
	}
}

func (k *purging) filesFolder() string { return k.place.Data + "/files" }

// exports wants that which goes on meanwhile to succeed, with what is not of the
// purged. A file of any export is there as the manifest says, or was voided.
func (k *purging) exports(base string) {
	k.Helper()
	for _, before := range k.ended {
		x := &killed{T: k.T, storage: k.place, job: before.job}
		k.files(x, x.manifest(base))
	}
	if k.begins == nil {
		return
	}
	x := &killed{T: k.T, storage: k.place, job: k.begins.job}
	if k.call.path == ofPair().path && x.lostItsGroup(base) {
		return // the purge came to the Group before it had read the members
	}
	m := x.manifest(base)
	if voided := k.files(x, m); voided {
		return // it had ended before the purge came to it
	}
	if len(m.Output) == 0 {
		return
	}
	got := x.download(m)
	for i := range 20 {
		id := fmt.Sprintf(`"cleo-%d"`, i)
		has := slices.ContainsFunc(got["output Observation"], func(line string) bool { return strings.Contains(line, id) })
		if wanted := k.call.path != ofPair().path; has != wanted {
			k.Errorf("the export that went on meanwhile has Observation/%s: %t", id, has)
		}
	}
}

// files looks at each file of a manifest, and tells whether any was voided.
func (k *purging) files(x *killed, m fhir.Manifest) (voided bool) {
	k.Helper()
	for _, f := range slices.Concat(m.Output, m.Deleted, m.Error) {
		res, ok := x.ask(f.URL)
		switch {
		case !ok, res.status != http.StatusOK && res.status != http.StatusGone:
			k.Errorf("%s of a manifest: %d %s", f.URL, res.status, res.body)
		case res.status == http.StatusGone:
			voided = true
		}
		for _, text := range canaries() {
			if strings.Contains(string(res.body), text) {
				k.Errorf("%s has %s", f.URL, text)
			}
		}
	}
	return voided
}

// left looks at what is left in a place without a server: nothing of the purged,
// and all of it counted once.
func (k *purging) left() versions {
	k.Helper()
	st, _, done := opened(k.T, k.place)
	left := versionsIn(k.T, st)
	tenant := store.Tenant(auth.DefaultTenant)
	gone := store.Gone{IDs: k.before.purgedWhole(left), Patients: []string{"ada", "ben", "nobody"}, Job: k.id()}
	residue, err := st.Residue(k.Context(), tenant, gone)
	k.ok(err)
	if len(residue) > 0 {
		k.Errorf("residue: %+v", residue)
	}
	j, err := st.Peek(k.Context(), tenant, k.id())
	k.ok(err)
	if j.State != job.Succeeded {
		k.Errorf("the job is %s", j.State)
	}
	tally, err := st.Tally(k.Context(), tenant, k.id())
	k.ok(err)
	truth := left.since(k.before)
	k.certified(st, truth)
	k.entered(st, left)
	done()
	if diff := cmp.Diff(truth.Erased, tally.Erased); diff != "" {
		k.Errorf("erased (- what is gone, + what is counted)\n%s", diff)
	}
	k.looks.tells(truth)
	if names := holding(k.T, k.place.Data); len(names) > 0 {
		k.Errorf("on disk: %q", names)
	}
	return left
}

func TestAPurgeGoesOnAfterAKillAtAnyCall(t *testing.T) { purgesKilledAtAnyCall(t, onSQLite(), 5) }

func TestAPurgeOnMongoGoesOnAfterAKillAtAnyCall(t *testing.T) {
	t.Parallel()
	purgesKilledAtAnyCall(t, onMongo(t), 1)
}

func purgesKilledAtAnyCall(t *testing.T, g ground, few int64) {
	for _, kind := range kindsOfPurge()[:2] { // a holding has a test of its own
		t.Run(kind.call.key, func(t *testing.T) {
			t.Parallel()
			tpl := kind.template(t, g)
			k := tpl.purge(t, kind.call)
			points := 2 * k.disturb(strike{}).calls
			want := k.recover()
			afterPurge(t, tpl.before, want)
			undisturbed := k
			if points == 0 {
				t.Fatal("there is nowhere to die")
			}
			for _, p := range steps(t, points, few) {
				t.Run(fmt.Sprint(p), func(t *testing.T) {
					t.Parallel()
					k := tpl.purge(t, kind.call)
					c := k.disturb(strike{point: p})
					t.Logf("the child died %q", strings.TrimSpace(c.died))
					if diff := cmp.Diff(want, k.recover()); diff != "" {
						t.Errorf("(- undisturbed, + got)\n%s", diff)
					}
					k.saysAs(undisturbed)
				})
			}
		})
	}
}

// parametersOfPurge is a Parameters resource as a client reads it.
type parametersOfPurge struct {
	Parameter []struct {
		Name     string
		Resource json.RawMessage
		Part     []struct {
			Name         string
			ValueID      string `json:"valueId"`
			ValueCode    string
			ValueInteger int64
			ValueString  string
		}
	}
}
