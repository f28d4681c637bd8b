package export

import (
	"context"
	"errors"
	"strings"

	"firebreak/operations/job"
	"firebreak/store"
)

// folder is where the files of a job are. It names the tenant, so that the
// job can be found from it.
func folder(tenant, jobID string) string { return tenant + "." + jobID }

// Sweep is what the engine calls now and then: folders of jobs that are not
// there go, and of jobs that have ended the files that no record names.
func (x *Export) Sweep(ctx context.Context) error {
	folders, err := x.cfg.Files.Folders(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range folders {
		if err := ctx.Err(); err != nil {
			return err
		}
		errs = append(errs, x.sweep(ctx, name))
	}
	return errors.Join(errs...)
}

func (x *Export) sweep(ctx context.Context, name string) error {
	tenant, id, ok := cutLast(name, ".")
	if !ok {
		return nil // no folder of ours
	}
	j, err := x.cfg.Store.Peek(ctx, store.Tenant(tenant), id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return x.cfg.Files.RemoveFolder(ctx, name)
	case err != nil:
		return err
	case j.Kind != Kind || !j.State.Final():
		return nil
	}
	return x.sweepFiles(ctx, j, name)
}

// sweepFiles removes the files of an ended job that have no record.
func (x *Export) sweepFiles(ctx context.Context, j job.Job, folder string) error {
	names, err := x.cfg.Files.Names(ctx, folder)
	if err != nil {
		return err
	}
	recorded := map[string]bool{}
	err = x.parts(ctx, j, func(p job.Part) { recorded[p.Name] = true })
	if err != nil {
		return err
	}
	var stray []string
	for _, n := range names {
		if !recorded[n] {
			stray = append(stray, n)
		}
	}
	return x.cfg.Files.Remove(ctx, stray...)
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
