package export

import (
	"context"
	"errors"

	"firebreak/operations/job"
	"firebreak/store"
)

// EachPart calls f with the record of each file of the tenant's exports, those
// under way too, and ends with the error that f returns. A job without a folder
// has no files.
func (x *Export) EachPart(ctx context.Context, t store.Tenant, f func(p job.Part) error) error {
	folders, err := x.cfg.Files.Folders(ctx)
	if err != nil {
		return err
	}
	for _, name := range folders {
		tenant, id, ok := cutLast(name, ".")
		if !ok || store.Tenant(tenant) != t {
			continue
		}
		j, err := x.cfg.Store.Peek(ctx, t, id)
		if errors.Is(err, store.ErrNotFound) || err == nil && j.Kind != Kind {
			continue
		}
		if err != nil {
			return err
		}
		var all []job.Part
		if err := x.parts(ctx, j, func(p job.Part) { all = append(all, p) }); err != nil {
			return err
		}
		for _, p := range all {
			if err := f(p); err != nil {
				return err
			}
		}
	}
	return nil
}
