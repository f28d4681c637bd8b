package purge

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/operations/job"
	"firebreak/store"
)

// planLifetime is how long a preview can be asked for, and quoted.
const planLifetime = time.Hour

// Plan ties a purge to a preview: what goes must be what that has shown.
type Plan struct {
	Of   string `json:"previewOf,omitempty"` // of a preview: the kind of the purge that it shows
	ID   string `json:"plan,omitempty"`      // of a purge: the preview that was quoted
	Key  []byte `json:"planKey,omitempty"`   // that the hashes of the preview are under
	Hash string `json:"planHash,omitempty"`  // of a purge: what the preview came to
}

// sameUnit looks whether what a unit is going to remove is what was shown. All
// of them come before the first that removes anything.
const sameUnit = "0-same-%06d"

// setPlan takes _preview or _plan.
func (p *Plan) setPlan(kind string, given fhir.Parameter) error {
	switch {
	case given.Name == "_plan":
		if p.ID = given.Value; fhir.CheckID(p.ID) != nil {
			return fhir.Errorf(fhir.Invalid, "_plan is the plan of a preview, which that gives").With(fhir.CodeValue)
		}
	case given.Value == "true":
		p.Of = kind
	case given.Value != "false":
		return fhir.Errorf(fhir.Invalid, "_preview is true or false").With(fhir.CodeValue)
	}
	return nil
}

// check refuses a preview that is held to another.
func (p *Plan) check() error {
	if p.Of != "" && p.ID != "" {
		return fhir.Errorf(fhir.Invalid, "_preview and _plan do not go together: a preview shows what would be purged now").With(fhir.CodeNotSupported)
	}
	return nil
}

// begin makes a job a preview, or holds it to the one that was quoted.
func (p *Plan) begin(q *quote, j *job.Job) {
	switch {
	case p.Of != "":
		j.Kind, j.Lifetime, p.Key = PreviewKind, planLifetime, make([]byte, sha256.Size)
		_, _ = rand.Read(p.Key) // does not fail
	case q != nil:
		p.Key, p.Hash = q.plan.Key, q.hash()
	}
}

// quote is a preview that a purge is held to.
type quote struct {
	plan  Plan
	parts map[string]string // the hash of what each unit would remove, by partOf
}

// hash stands for all that would be removed.
func (q *quote) hash() string {
	mac := hmac.New(sha256.New, q.plan.Key)
	for _, name := range slices.Sorted(maps.Keys(q.parts)) {
		_, _ = fmt.Fprintln(mac, name, q.parts[name]) // a hash takes all
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// effect is what would be done, in lines that stand for it: each version that
// goes, each resource of which nothing is left, and each that is detached.
type effect []string

func (e *effect) add(id fhir.ID, versions []store.VersionRef, whole bool, detach int64) {
	for _, v := range versions {
		*e = append(*e, fmt.Sprintln(v.Key, v.N))
	}
	if whole {
		*e = append(*e, fmt.Sprintln("whole", id))
	}
	if detach > 0 {
		*e = append(*e, fmt.Sprintln("detach", id, detach))
	}
}

// hash is a keyed hash of the effect, whatever its order.
func (e effect) hash(key []byte) string {
	mac := hmac.New(sha256.New, key)
	for _, line := range slices.Compact(slices.Sorted(slices.Values(e))) {
		_, _ = fmt.Fprint(mac, line) // a hash takes all
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// partOf is what a unit is for, the same in a preview and in a purge: a patient,
// or a batch of a holding.
func partOf(u job.Unit) string {
	if p, err := patientOf(u); err == nil {
		return p
	}
	return u.ID
}

// asked is what a call asked for, without what it says of previews.
func asked(request json.RawMessage) (plan Plan, rest map[string]any, err error) {
	err = errors.Join(json.Unmarshal(request, &plan), json.Unmarshal(request, &rest))
	// To read all at the end changes nothing of what goes.
	for _, name := range []string{"previewOf", "plan", "planKey", "planHash", "full"} {
		delete(rest, name)
	}
	return plan, rest, err
}

// quoted is the preview of a principal that a call of some kind quotes; nil if
// it quotes none. doc is what is asked for now.
func (x *Purge) quoted(ctx context.Context, p auth.Principal, kind string, doc json.RawMessage) (*quote, error) {
	now, rest, err := asked(doc)
	if err != nil || now.ID == "" {
		return nil, err
	}
	j, err := x.cfg.Store.Job(ctx, store.Tenant(p.Tenant), job.Owner{Client: p.Client, User: p.User}, now.ID)
	verdict := j.Poll(x.cfg.Now())
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && (j.Kind != PreviewKind || verdict == job.NotThereNow || verdict == job.WasStopped):
		return nil, fhir.Errorf(fhir.Conflict, "nothing was purged: you have no preview of this id, or it is over an hour old; ask for another one with _preview=true")
	case err != nil:
		return nil, err
	case verdict != job.Ready:
		return nil, fhir.Errorf(fhir.Conflict, "nothing was purged: the preview has not ended, or it failed; ask how it is with GET, and quote it when it is done")
	}
	plan, was, err := asked(j.Request)
	if err != nil {
		return nil, err
	}
	if (plan.Of == HoldingKind) != (kind == HoldingKind) || !reflect.DeepEqual(was, rest) {
		return nil, errOtherCall()
	}
	return x.readQuote(ctx, j, plan)
}

// earlier is the job that the same call, which quotes a preview, has started
// before under the same Idempotency-Key; none has no id. The preview may be gone
// by now, and what it has shown is.
func (x *Purge) earlier(ctx context.Context, p auth.Principal, kind, key string, what any, patients []string) (job.Job, error) {
	doc, err := json.Marshal(what)
	if err != nil {
		return job.Job{}, err
	}
	if now, _, err := asked(doc); err != nil || now.ID == "" || key == "" {
		return job.Job{}, err
	}
	want := digest(key, doc, patients)
	j, err := x.find(ctx, store.Tenant(p.Tenant), job.Owner{Client: p.Client, User: p.User}, func(j job.Job) bool {
		return j.Kind == kind && j.Key == key && j.Digest == want
	})
	if err != nil || j == nil {
		return job.Job{}, err
	}
	return *j, nil
}

func errOtherCall() error {
	return fhir.Errorf(fhir.Invalid, "nothing was purged: the preview was of another call; quote it with the same patients, or Group, and the same parameters").With(fhir.CodeValue)
}

func (x *Purge) readQuote(ctx context.Context, j job.Job, plan Plan) (*quote, error) {
	q := &quote{plan, map[string]string{}}
	return q, x.units(ctx, j, func(u job.Unit, what did) error {
		if u.Phase == purging {
			q.parts[partOf(u)] = what.Foreseen.Hash
		}
		return nil
	})
}

// quotes is the preview that the attempt's job is held to; nil if it is to none.
func (a attempt) quotes(ctx context.Context) (*quote, error) {
	plan := a.request.Plan
	if plan.ID == "" {
		return nil, nil
	}
	j, err := a.cfg.Store.Peek(ctx, a.fence.Tenant, plan.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && j.Kind != PreviewKind {
		return nil, changed(plan)
	}
	if err != nil {
		return nil, err
	}
	q, err := a.readQuote(ctx, j, plan)
	if err == nil && q.hash() != plan.Hash {
		err = changed(plan)
	}
	return q, err
}

// plans are the units of a job. If it is held to a preview, there is one more for
// each patient, which looks whether what goes is what that has shown: it must
// have shown the same patients.
func (q *quote) plans(j job.Job, r Request, patients []string) ([]job.Unit, error) {
	us, err := plans(j, r, patients)
	if err != nil || q == nil {
		return us, err
	}
	if len(patients) != len(q.parts) {
		return nil, errOtherCall()
	}
	for i, u := range us[:len(patients)] {
		same, err := q.sameUnit(i+1, u)
		if err != nil {
			return nil, err
		}
		us = append(us, same)
	}
	return us, nil
}

// sameUnit is the nth unit that looks whether what another is going to remove is
// what was shown.
func (q *quote) sameUnit(n int, u job.Unit) (job.Unit, error) {
	want, ok := q.parts[partOf(u)]
	if !ok {
		return u, errOtherCall()
	}
	u.ID, u.Phase, u.Args = fmt.Sprintf(sameUnit, n), planning, withHash(u.Args, want)
	return u, nil
}

// withHash adds the hash that is wanted to what a unit is to do.
func withHash(args json.RawMessage, want string) json.RawMessage {
	return append(args[:len(args)-1:len(args)-1], fmt.Sprintf(`,"same":%q}`, want)...)
}

// wanted is the hash that a unit wants.
func wanted(u job.Unit) (string, error) {
	var args struct {
		Same string `json:"same"`
	}
	if json.Unmarshal(u.Args, &args) != nil || args.Same == "" {
		return "", errors.New("purge: the unit does not say what was shown")
	}
	return args.Same, nil
}

// changed is the end of a job whose preview is not true any more.
func changed(p Plan) error {
	return &job.Failure{Permanent: true, Reason: job.Reason{
		Code:    string(fhir.CodeConflict),
		Message: fmt.Sprintf("what would go is not what the preview %s has shown: something was written, deleted or purged since. Nothing was touched; ask for another preview", p.ID),
	}}
}

// same fails for good unless what would be done is what the preview has shown.
func (a attempt) same(e effect) (job.UnitEnd, error) {
	want, err := wanted(a.unit)
	if err == nil && e.hash(a.request.Key) != want {
		err = changed(a.request.Plan)
	}
	return job.UnitEnd{State: job.Succeeded}, err
}

// isSame looks whether what goes with a patient is what was shown.
func (a attempt) isSame(ctx context.Context) (job.UnitEnd, error) {
	patient, err := patientOf(a.unit)
	if err != nil {
		return job.UnitEnd{}, err
	}
	f, g, err := a.wouldGo(ctx, patient)
	if err != nil {
		return job.UnitEnd{}, err
	}
	// A hold on one record of several would leave the purge half done.
	if err := a.begins(ctx, g.onAccountOf(f.all())); err != nil {
		return job.UnitEnd{}, err
	}
	return a.same(f.effect())
}

// MayRetry answers nil if a principal may have a purge of patients tried again:
// it may start it, and one that is held to a preview has begun.
func (x *Purge) MayRetry(ctx context.Context, p auth.Principal, j job.Job) error {
	r, err := request(j)
	if err != nil {
		return err
	}
	var patients []string
	if r.Group == "" && !r.Audit { // see Kickoff
		m, err := attempt{Purge: x, job: j}.everyone(ctx)
		if err != nil {
			return err
		}
		patients = slices.Collect(maps.Keys(m.patients))
	}
	if err := auth.MayPurge(p, patients); err != nil {
		return err
	}
	return x.hasBegun(ctx, j, r.Plan)
}

// hasBegun refuses to have a purge tried again that is held to a preview and has
// not begun: nothing was touched, and what was looked at may be other by now.
func (x *Purge) hasBegun(ctx context.Context, j job.Job, p Plan) error {
	if p.ID == "" {
		return nil
	}
	begun := false
	err := x.units(ctx, j, func(u job.Unit, _ did) error {
		begun = begun || u.Phase > planning && u.Attempt > 0
		return nil
	})
	if err == nil && !begun {
		err = fhir.Errorf(fhir.Conflict, "nothing was touched by this purge, which is held to a preview; ask for the purge again with POST, and for another preview if that one is not true any more")
	}
	return err
}
