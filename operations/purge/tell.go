package purge

import (
	"context"
	"errors"
	"slices"
	"time"

	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// Who follows changes has no other way to learn of an erasure: there is no
// tombstone. So the owners of exports that held some of a record are told its
// ids, if the operator wants that, until the files would have expired.

// tellGone tells the owners of void parts of what is going to be erased whole.
func (a attempt) tellGone(ctx context.Context, parts []job.Part, ids []fhir.ID) error {
	if !a.cfg.Tell || len(ids) == 0 {
		return nil
	}
	hearers, err := a.hearers(ctx, parts)
	if err != nil {
		return err
	}
	for page := range slices.Chunk(ids, historyPage) {
		if err := a.tell(ctx, hearers, page); err != nil {
			return err
		}
	}
	return nil
}

func (a attempt) tell(ctx context.Context, hearers map[store.Owner]time.Time, ids []fhir.ID) error {
	for owner, until := range hearers {
		if err := a.cfg.Store.Tell(ctx, a.fence, owner, until, ids); err != nil {
			return err
		}
	}
	return nil
}

// hearers are the owners of the jobs of parts, each until the last of them
// expires. A job that has not ended has told nobody anything yet.
func (a attempt) hearers(ctx context.Context, parts []job.Part) (map[store.Owner]time.Time, error) {
	until, seen := map[store.Owner]time.Time{}, map[string]bool{}
	for _, p := range parts {
		if seen[p.Job] {
			continue
		}
		seen[p.Job] = true
		j, err := a.cfg.Store.Peek(ctx, a.fence.Tenant, p.Job)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return nil, err
		case j.State.Final() && a.cfg.Now().Before(j.Expires) && until[j.Owner].Before(j.Expires):
			until[j.Owner] = j.Expires
		}
	}
	return until, nil
}
