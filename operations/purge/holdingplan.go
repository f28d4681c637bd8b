package purge

import (
	"context"
	"encoding/json"
	"fmt"

	"firebreak/operations/job"
	"firebreak/store"
)

// batchSize is how many resources a batch has at most.
const batchSize = 1000

// batchArgs is what a batch is to do: the resources that go by a version within
// the range. It does not change, so whoever tries again finds what is left.
type batchArgs struct {
	Range     store.Range `json:"range"`
	Resources int64       `json:"resources"`
}

func argsOf(u job.Unit) (a batchArgs, err error) {
	if json.Unmarshal(u.Args, &a) != nil || a.Range.Type == "" {
		err = fmt.Errorf("purge: the unit %s does not say which keys it is for", u.ID)
	}
	return a, err
}

// planner cuts what goes into batches.
type planner struct {
	holding
	whose   *accounts
	quote   *quote // nil: it is held to none
	batches int
	total   int64
	open    batchArgs // the batch that is being counted
	waiting []job.Unit
}

// plan counts what goes, and makes the units.
func (h holding) plan(ctx context.Context) (job.UnitEnd, error) {
	of, err := h.accounts(ctx)
	if err != nil {
		return job.UnitEnd{}, err
	}
	q, err := h.quotes(ctx)
	if err != nil {
		return job.UnitEnd{}, err
	}
	p := &planner{holding: h, whose: of, quote: q}
	ranges, err := h.cfg.Store.Split(ctx, h.fence.Tenant, h.selection(h.at), readBytes)
	if err != nil {
		return job.UnitEnd{}, err
	}
	for _, r := range ranges {
		if err := p.count(ctx, r); err != nil {
			return job.UnitEnd{}, err
		}
	}
	if err := p.cut(""); err != nil {
		return job.UnitEnd{}, err
	}
	if err := p.whose.ask(ctx); err != nil {
		return job.UnitEnd{}, err
	}
	if q != nil && len(q.parts) != p.batches {
		return job.UnitEnd{}, changed(h.request.Plan)
	}
	if h.request.Of == "" {
		p.waiting = append(p.waiting, unit(h.job, finishUnit, finishing, nil), unit(h.job, readUnit, reading, nil))
	}
	if err := p.add(ctx); err != nil {
		return job.UnitEnd{}, err
	}
	doc, err := json.Marshal(did{Holding: holdingDid{Resources: p.total}})
	return job.UnitEnd{State: job.Succeeded, Result: doc}, err
}

// count counts what goes of a range of one type.
func (p *planner) count(ctx context.Context, r store.Range) error {
	if p.open.Range.Type != r.Type {
		if err := p.cut(""); err != nil {
			return err
		}
		p.open.Range = store.Range{Type: r.Type, From: r.From}
	}
	err := p.each(ctx, r, func(v *store.Version) error {
		if p.open.Resources == batchSize {
			if err := p.cut(v.Key); err != nil {
				return err
			}
		}
		p.open.Resources++
		return p.whose.add(ctx, v)
	})
	p.open.Range.To = r.To
	if err == nil && len(p.waiting) >= unitPage {
		err = p.add(ctx)
	}
	return err
}

// each calls f with the versions of a range by which resources go.
func (h holding) each(ctx context.Context, r store.Range, f func(v *store.Version) error) error {
	return h.cfg.Store.Scan(ctx, h.fence.Tenant, h.selection(h.at), r, "", func(v *store.Version) error {
		if !h.decides(v) {
			return nil
		}
		return f(v)
	})
}

// cut ends the open batch before a key, "" for the end of its range, and opens
// the next one there. A batch of nothing is none.
func (p *planner) cut(at store.Key) error {
	next := batchArgs{Range: store.Range{Type: p.open.Range.Type, From: at}}
	if at != "" {
		p.open.Range.To = at
	}
	if p.open.Resources > 0 {
		doc, err := json.Marshal(p.open)
		if err != nil {
			return err
		}
		p.batches++
		p.total += p.open.Resources
		if err := p.batch(unit(p.job, fmt.Sprintf(patientUnit, p.batches), purging, doc)); err != nil {
			return err
		}
	}
	p.open = next
	return nil
}

// batch takes the unit of a batch, and with it one that looks whether what goes
// is what was shown.
func (p *planner) batch(u job.Unit) error {
	p.waiting = append(p.waiting, u)
	if p.quote == nil {
		return nil
	}
	same, err := p.quote.sameUnit(p.batches, u)
	if err != nil {
		return changed(p.request.Plan)
	}
	p.waiting = append(p.waiting, same)
	return nil
}

// add writes the units that were made so far.
func (p *planner) add(ctx context.Context) error {
	err := p.cfg.Store.Add(ctx, p.fence, p.waiting)
	p.waiting = p.waiting[:0]
	return err
}
