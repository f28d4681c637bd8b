package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// byWatcher marks the context of a poll of a purge. Those are many, and at no
// set moments: their calls are no places to die.
type byWatcher struct{}

// unseen marks the polls of purges.
func unseen(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		polled := strings.Contains(path, "/Patient-bulk-purge/") || strings.Contains(path, purgePath+"/") || strings.HasSuffix(path, "/result")
		if polled && r.Method == http.MethodGet {
			r = r.WithContext(context.WithValue(r.Context(), byWatcher{}, true))
		}
		h.ServeHTTP(w, r)
	})
}

// asked is at for a call that a poll may make.
func (f *fault) asked(ctx context.Context, call string) (after func()) {
	if ctx.Value(byWatcher{}) != nil {
		return func() {}
	}
	return f.at(call)
}

// holds waits after the first call of the name until the attempt is broken off.
func (f *fault) holds(ctx context.Context, call string) {
	if call == f.hold && f.held.CompareAndSwap(false, true) {
		tell("holds")
		<-ctx.Done()
	}
}

// delays waits before a call of the name until the last unit of a purge begins.
func (f *fault) delays(ctx context.Context, call string) {
	if call != f.late {
		return
	}
	tell("delays", call)
	select {
	case <-f.finishing:
	case <-ctx.Done():
	}
}

// ofPurge tells whether a unit is a patient's.
func ofPurge(f store.Fence) bool { return regexp.MustCompile(`^1-\d{6}$`).MatchString(f.Unit) }

var errRefused = errors.New("the erasure is refused, with a secret cause")

func (s faultyStore) Mentions(ctx context.Context, t store.Tenant, targets []fhir.ID) ([]fhir.ID, error) {
	defer s.fault.at("Mentions")()
	return s.Store.Mentions(ctx, t, targets)
}

func (s faultyStore) Versions(ctx context.Context, t store.Tenant, ids []fhir.ID, yield func(*store.Version) error) error {
	defer s.fault.at("Versions")()
	return s.Store.Versions(ctx, t, ids, yield)
}

func (s faultyStore) Erase(ctx context.Context, f store.Fence, vs []store.VersionRef, of ...string) (store.Erased, error) {
	if f.Unit == s.fault.refuse && s.fault.refused.Add(1) <= job.MaxErrors {
		return store.Erased{}, errRefused
	}
	defer s.fault.holds(ctx, "Erase")
	defer s.fault.at("Erase for " + f.Unit)()
	return s.Store.Erase(ctx, f, vs, of...)
}

func (s faultyStore) Residue(ctx context.Context, t store.Tenant, g store.Gone) ([]store.Residue, error) {
	defer s.fault.at("Residue")()
	return s.Store.Residue(ctx, t, g)
}

func (s faultyStore) Scrub(ctx context.Context) (store.Traces, error) {
	defer s.fault.at("Scrub")()
	return s.Store.Scrub(ctx)
}

func (s faultyStore) Announce(ctx context.Context, f store.Fence, patients []string) error {
	defer s.fault.at("Announce for " + f.Unit)()
	return s.Store.Announce(ctx, f, patients)
}

func (s faultyStore) Void(ctx context.Context, f store.Fence, patients []string, these ...job.Part) ([]job.Part, error) {
	defer s.fault.at("Void for " + f.Unit)()
	return s.Store.Void(ctx, f, patients, these...)
}

func (s faultyStore) Strike(ctx context.Context, f store.Fence, g store.Gone) error {
	defer s.fault.at("Strike for " + f.Unit)()
	return s.Store.Strike(ctx, f, g)
}

func (s faultyStore) Forget(ctx context.Context, t store.Tenant, parts []job.Part) error {
	defer s.fault.at("Forget")()
	return s.Store.Forget(ctx, t, parts)
}

func (s faultyStore) Certify(ctx context.Context, f store.Fence, number int64, doc []byte) (store.Certificate, error) {
	defer s.fault.at("Certify")()
	return s.Store.Certify(ctx, f, number, doc)
}

func (s faultyStore) Certificate(ctx context.Context, t store.Tenant, id string) (store.Certificate, error) {
	defer s.fault.asked(ctx, "Certificate")()
	return s.Store.Certificate(ctx, t, id)
}

func (s faultyStore) Certificates(ctx context.Context, t store.Tenant, before int64, n int) ([]store.Certificate, error) {
	defer s.fault.at("Certificates")()
	return s.Store.Certificates(ctx, t, before, n)
}

func (s faultyStore) Note(ctx context.Context, f store.Fence, total job.Erased, result json.RawMessage) error {
	defer s.fault.at("Note for " + f.Unit)()
	return s.Store.Note(ctx, f, total, result)
}

func (s faultyStore) Retry(ctx context.Context, t store.Tenant, id string, now time.Time, l store.Limit) (job.Job, error) {
	defer s.fault.at("Retry")()
	return s.Store.Retry(ctx, t, id, now, l)
}

func (s faultyStore) UnitsOf(ctx context.Context, t store.Tenant, id, after string, n int) ([]job.Unit, error) {
	defer s.fault.asked(ctx, "UnitsOf")()
	return s.Store.UnitsOf(ctx, t, id, after, n)
}

func (s faultyStore) Voided(ctx context.Context, t store.Tenant, id string) ([]job.Part, error) {
	defer s.fault.at("Voided")()
	return s.Store.Voided(ctx, t, id)
}

func (s faultyStore) HeldAmong(ctx context.Context, t store.Tenant, at time.Time, patients []string) ([]store.Held, error) {
	defer s.fault.at("HeldAmong")()
	return s.Store.HeldAmong(ctx, t, at, patients)
}

func (s faultyStore) List(ctx context.Context, t store.Tenant, who store.Owner, before string, n int) ([]job.Job, error) {
	defer s.fault.asked(ctx, "List")()
	return s.Store.List(ctx, t, who, before, n)
}

func (s faultyStore) Untell(ctx context.Context, now time.Time) error {
	defer s.fault.at("Untell")()
	return s.Store.Untell(ctx, now)
}
