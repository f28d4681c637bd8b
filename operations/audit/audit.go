// Package audit records what is done with jobs, and with holds, as AuditEvents of FHIR R4
// (https://hl7.org/fhir/R4/auditevent.html): resources of the server's own in
// the tenant that it is of. They say who did what with which of them, when and
// with what outcome, and nothing of what is in any resource.
package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/r4"
	"firebreak/fhir/search"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/oklog/ulid/v2"
)

// Client owns the AuditEvents. No client of the server may have this name.
const Client = "firebreak"

// Store is what recording needs of a store.
type Store interface {
	store.Committer
	store.Reader
}

// Config is what New needs; all of it must be set.
type Config struct {
	Store      Store
	Now        func() time.Time
	NewID      func() string
	NewBatchID func() ulid.ULID
}

// Recorder stores AuditEvents. It may be used by many goroutines at once.
type Recorder struct{ cfg Config }

// New makes a Recorder.
func New(cfg Config) *Recorder { return &Recorder{cfg} }

// Record stores an event; when it returns nil, the event is durable. Of one
// download that is resumed the beginning is enough, and of one job there is
// one expiry, however often it is recorded.
func (r *Recorder) Record(ctx context.Context, e job.Event) error {
	id, once := stableID(e)
	if !once && e.Act != job.Downloaded {
		return r.put(ctx, e, r.cfg.NewID())
	}
	recorded, err := r.recorded(ctx, e.Tenant, id)
	if err != nil {
		return err
	}
	if !recorded {
		err = r.put(ctx, e, id)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		// Another was there first: the same event, or a client's resource.
		if recorded, err = r.recorded(ctx, e.Tenant, id); err != nil {
			return err
		}
	}
	if recorded && once {
		return nil
	}
	return r.put(ctx, e, r.cfg.NewID())
}

// stableID is the id of the first event of its sort. once tells that the
// first one is enough.
func stableID(e job.Event) (id string, once bool) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q %q", e.Act, e.Tenant, e.Job, e.File, e.By.Client, e.By.User))
	return hex.EncodeToString(sum[:]), e.Act == job.Expiry || e.Act == job.Downloaded && e.Resumed
}

// recorded tells whether the server has stored an event under the id. What a
// client has put there is none.
func (r *Recorder) recorded(ctx context.Context, tenant, id string) (bool, error) {
	got, err := r.cfg.Store.Get(ctx, store.Tenant(tenant), fhir.ID{Type: "AuditEvent", ID: id})
	if err != nil {
		return false, fmt.Errorf("audit: look for an event: %w", err)
	}
	return got[0].N > 0 && got[0].Owner.Client == Client, nil
}

// put stores the event as a new resource; store.ErrConflict if the id is taken.
func (r *Recorder) put(ctx context.Context, e job.Event, id string) error {
	body, err := render(e, id, r.cfg.Now())
	if err != nil {
		return err
	}
	res, err := fhir.Reader{Known: r4.IsType}.Read(body)
	if err != nil {
		return fmt.Errorf("audit: read an event back: %w", err)
	}
	put := store.Put{
		Resource: res, Terms: search.Terms(res.ID.Type, res.ID.ID, res.Body),
		Expect: store.Absent, Owner: store.Owner{Client: Client},
	}
	_, err = r.cfg.Store.Commit(ctx, store.Tenant(e.Tenant), store.Batch{ID: r.cfg.NewBatchID(), Puts: []store.Put{put}})
	if err != nil {
		return fmt.Errorf("audit: store an event: %w", err)
	}
	return nil
}
