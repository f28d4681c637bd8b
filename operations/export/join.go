package export

import (
	"context"
	"errors"
	"fmt"
	"io"

	"firebreak/operations/job"
)

// partPage is how many records of files are read at a time.
const partPage = 500

// join joins neighbouring small files of a type and numbers all files. The
// bytes of those it replaced go after its end is committed: see Ended.
func (a attempt) join(ctx context.Context) (job.UnitEnd, error) {
	end := job.UnitEnd{State: job.Succeeded, Numbers: map[string]int{}}
	parts, err := a.outputs(ctx)
	if err != nil {
		return end, err
	}
	n, last := 0, ""
	for i, group := range a.groups(parts) {
		if typ := group[0].Type; typ != last {
			n, last = 0, typ
		}
		n++
		if len(group) == 1 {
			end.Numbers[group[0].ID] = n
			continue
		}
		p, err := a.joined(ctx, group, i+1)
		if err != nil {
			return end, err
		}
		p.N = n
		end.Parts = append(end.Parts, p)
		end.Drop = append(end.Drop, group...)
	}
	return end, nil
}

// outputs are the files that the units wrote, ordered by unit, and so by type.
func (a attempt) outputs(ctx context.Context) ([]job.Part, error) {
	var out []job.Part
	err := a.parts(ctx, a.job, func(p job.Part) {
		if p.Category == job.Output {
			out = append(out, p)
		}
	})
	return out, err
}

// groups puts together what becomes one file.
func (a attempt) groups(parts []job.Part) [][]job.Part {
	var out [][]job.Part
	var size int64
	for _, p := range parts {
		n := len(out) - 1
		joins := n >= 0 && out[n][0].Type == p.Type && p.Size < a.cfg.JoinSize &&
			out[n][len(out[n])-1].Size < a.cfg.JoinSize && size+p.Size <= a.cfg.MaxFile
		if !joins {
			out, size = append(out, []job.Part{p}), p.Size
			continue
		}
		out[n], size = append(out[n], p), size+p.Size
	}
	return out
}

// joined writes a group as one file, and checks that nothing was lost.
func (a attempt) joined(ctx context.Context, group []job.Part, i int) (job.Part, error) {
	w, err := a.part(ctx, job.Output, group[0].Type, i)
	if err != nil {
		return job.Part{}, err
	}
	defer w.file.Abort()
	for _, p := range group {
		if err := a.copy(ctx, w, p); err != nil {
			return job.Part{}, err
		}
		w.part.Count += p.Count
		w.part.Size += p.Size
		w.part.Joins = append(w.part.Joins, p.ID)
	}
	return w.end()
}

func (a attempt) copy(ctx context.Context, w *partWriter, p job.Part) (err error) {
	f, err := a.cfg.Files.Open(ctx, p.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.Copy(w.buffered, f)
	if err == nil && n != p.Size {
		err = fmt.Errorf("export: a file has %d bytes where its record says %d", n, p.Size)
	}
	return err
}
