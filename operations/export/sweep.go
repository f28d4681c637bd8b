package export

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"firebreak/operations/job"
	"firebreak/store"
)

// folder is where the files of a job are. It names the tenant, so that the
// job can be found from it.
func folder(tenant, jobID string) string { return tenant + "." + jobID }

// Sweep is what the engine calls now and then: folders of jobs that are not
// there go, and of all others the files that no record names and that no
// attempt is writing which may still end.
func (x *Export) Sweep(ctx context.Context) error {
	return x.sweepAll(ctx, func(store.Tenant) bool { return true })
}

// sweepAll sweeps the folders of some tenants. It goes on after an error.
func (x *Export) sweepAll(ctx context.Context, of func(store.Tenant) bool) error {
	folders, err := x.cfg.Files.Folders(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range folders {
		if err := ctx.Err(); err != nil {
			return err
		}
		tenant, id, ok := cutLast(name, ".")
		if ok && of(store.Tenant(tenant)) { // else it is no folder of ours
			errs = append(errs, x.sweep(ctx, store.Tenant(tenant), id))
		}
	}
	return errors.Join(errs...)
}

// sweep sweeps the folder of one job. Its files are listed before anything is
// read of it: see strays.
func (x *Export) sweep(ctx context.Context, t store.Tenant, id string) error {
	name := folder(string(t), id)
	names, err := x.cfg.Files.Names(ctx, name)
	if err != nil {
		return err
	}
	j, err := x.cfg.Store.Peek(ctx, t, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return x.cfg.Files.RemoveFolder(ctx, name)
	case err != nil:
		return err
	case j.Kind != Kind:
		return nil
	}
	stray, err := x.strays(ctx, j, names)
	if err != nil {
		return err
	}
	return x.cfg.Files.Remove(ctx, stray...)
}

// Ended is what the engine calls when an attempt has left files that are to go:
// those that it replaced, which have no record any more, and those that it
// wrote in vain. If a crash comes between, they are left to Sweep.
func (x *Export) Ended(ctx context.Context, end job.UnitEnd) error {
	names := make([]string, 0, len(end.Drop))
	for _, p := range end.Drop {
		names = append(names, p.Name)
	}
	if end.State != "" || len(names) == 0 {
		return x.cfg.Files.Remove(ctx, names...)
	}
	tenant, id, _ := cutLast(strings.Split(names[0], "/")[0], ".")
	j, err := x.cfg.Store.Peek(ctx, store.Tenant(tenant), id)
	if err == nil {
		names, err = x.strays(ctx, j, names)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return x.cfg.Files.Remove(ctx, names...)
}

// strays are those of the files that were there before the job j was read which
// no record names, and which none can name any more: their attempt has ended,
// or lost its unit, or the job had ended; a retry does not bring it back.
//
// An attempt that is its unit's current one may end for as long as the job has
// not, though its lease has run out. Its units are read before its records, so
// that of an attempt that ends meanwhile there is a record.
func (x *Export) strays(ctx context.Context, j job.Job, names []string) ([]string, error) {
	kept := map[string]bool{} // what the names begin with
	if !j.State.Final() {
		err := x.eachUnit(ctx, j, func(u job.Unit) {
			if u.State == job.Running {
				kept[prefix(u)] = true
			}
		})
		if err != nil {
			return nil, err
		}
	}
	recorded := map[string]bool{}
	if err := x.parts(ctx, j, func(p job.Part) { recorded[p.Name] = true }); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return recorded[name] || kept[prefixOf(name)]
	}), nil
}

// prefix is what the names of an attempt's files begin with; no id has a dot.
func prefix(u job.Unit) string {
	return fmt.Sprintf("%s/%s.%d.", folder(u.Tenant, u.Job), u.ID, u.Attempt)
}

// prefixOf is the prefix of the attempt that wrote a file; "" of a file of none.
func prefixOf(name string) string {
	folder, file, _ := strings.Cut(name, "/")
	fields := strings.SplitN(file, ".", 3)
	if len(fields) < 3 {
		return ""
	}
	return folder + "/" + fields[0] + "." + fields[1] + "."
}

// unitPage is how many units are read at a time.
const unitPage = 500

// eachUnit calls f with each unit of a job.
func (x *Export) eachUnit(ctx context.Context, j job.Job, f func(job.Unit)) error {
	for after := ""; ; {
		page, err := x.cfg.Store.UnitsOf(ctx, store.Tenant(j.Tenant), j.ID, after, unitPage)
		if err != nil {
			return err
		}
		for _, u := range page {
			after = u.ID
			f(u)
		}
		if len(page) < unitPage {
			return nil
		}
	}
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
