package purge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"firebreak/fhir"
	"firebreak/fhir/selection"
	"firebreak/operations/job"
	"firebreak/store"
)

// A hold keeps from a purge what is of its patients: their own records, and in
// the records of others each version that is in the compartment of one of them,
// or about one. What a Group says of others is no such thing, or the hold on one
// member would keep all others in their Groups.
//
// It is looked for three times: before a job is made; before a unit touches
// anything, and detaches; and by the store in each commit that erases, which
// no hold slips by. A hold that comes between the look and the commit that
// detaches leaves the version before: to erase that is refused.

// unheld refuses a kick-off that a hold stands in the way of.
func (x *Purge) unheld(ctx context.Context, t store.Tenant, r Request, patients []string) error {
	now := x.cfg.Now()
	if r.Group != "" {
		m, _, err := selection.MembersNow(ctx, x.cfg.Store, t, r.Group, now)
		if err != nil {
			return err
		}
		patients = m.Patients
	}
	held, err := x.held(ctx, t, now, patients)
	if err != nil || len(held) == 0 {
		return err
	}
	return fhir.Errorf(fhir.Conflict, "nothing was purged: %s; who runs this server can lift a hold", tellHeld(held))
}

// held are the holds on patients, those on Groups that they are members of now
// among them.
func (x *Purge) held(ctx context.Context, t store.Tenant, now time.Time, patients []string) ([]store.Held, error) {
	held, err := x.cfg.Store.HeldAmong(ctx, t, now, patients)
	if err != nil {
		return nil, err
	}
	more, err := x.heldInGroups(ctx, t, now, patients)
	held = append(held, more...)
	slices.SortFunc(held, func(a, b store.Held) int {
		return cmp.Or(cmp.Compare(a.Patient, b.Patient), cmp.Compare(a.Hold.ID, b.Hold.ID))
	})
	return slices.Compact(held), err
}

// holdPage is how many holds are read at a time.
const holdPage = 200

// heldInGroups are the holds on Groups that the patients are members of now.
func (x *Purge) heldInGroups(ctx context.Context, t store.Tenant, now time.Time, patients []string) (held []store.Held, err error) {
	asked := make(map[string]bool, len(patients))
	for _, p := range patients {
		asked[p] = true
	}
	for after := ""; ; {
		page, err := x.cfg.Store.Holds(ctx, t, now, after, holdPage)
		if err != nil || len(page) == 0 {
			return held, err
		}
		for _, h := range page {
			after = h.ID
			some, err := x.heldInGroup(ctx, t, now, h, asked)
			if err != nil {
				return nil, err
			}
			held = append(held, some...)
		}
	}
}

// heldInGroup are those of the patients whom a hold on a Group is on now.
func (x *Purge) heldInGroup(ctx context.Context, t store.Tenant, now time.Time, h store.Hold, asked map[string]bool) (held []store.Held, err error) {
	if h.On != store.OnGroup {
		return nil, nil
	}
	m, _, err := selection.MembersNow(ctx, x.cfg.Store, t, h.Subject, now)
	for _, p := range m.Patients {
		if asked[p] {
			held = append(held, store.Held{Hold: h, Patient: p})
		}
	}
	return held, err
}

// maxHeld is how many held patients an answer names.
const maxHeld = 20

// tellHeld names the first of the holds that stand in the way: their ids, what
// they are on and until when. Why is for who set them to tell.
func tellHeld(held []store.Held) string {
	var parts []string
	for _, h := range held[:min(len(held), maxHeld)] {
		switch h.Hold.On {
		case store.OnTenant:
			parts = append(parts, fmt.Sprintf("the legal hold %s is on the whole tenant, %s", h.Hold.ID, tellUntil(h.Hold)))
		case store.OnGroup:
			parts = append(parts, fmt.Sprintf("the legal hold %s is on Group/%s, of which Patient/%s is, %s", h.Hold.ID, h.Hold.Subject, h.Patient, tellUntil(h.Hold)))
		default:
			parts = append(parts, fmt.Sprintf("the legal hold %s is on Patient/%s, %s", h.Hold.ID, h.Patient, tellUntil(h.Hold)))
		}
	}
	if more := len(held) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, "; ")
}

func tellUntil(h store.Hold) string {
	if h.Until.IsZero() {
		return "until it is lifted"
	}
	return "until " + h.Until.UTC().Format(time.RFC3339)
}

// begins fails for good if a hold is on one of the patients of what is going to
// be touched, or on a Group that one of them is a member of now.
func (a attempt) begins(ctx context.Context, patients []string) error {
	held, err := a.held(ctx, a.fence.Tenant, a.cfg.Now(), patients)
	return a.none(held, err)
}

// mayDetach fails for good if by now a hold is on one of the patients.
func (a attempt) mayDetach(ctx context.Context, patients []string) error {
	held, err := a.cfg.Store.HeldAmong(ctx, a.fence.Tenant, a.cfg.Now(), patients)
	return a.none(held, err)
}

func (a attempt) none(held []store.Held, err error) error {
	if err != nil || len(held) == 0 {
		return err
	}
	return a.stopped(&store.OnHold{Held: held[0]})
}

// stopped is a failure for good if an erasure was refused by a hold. It goes to
// the log, and names no patient.
func (a attempt) stopped(err error) error {
	held := (*store.OnHold)(nil)
	if !errors.As(err, &held) {
		return err
	}
	on := "another patient, whom something that names this one is about, or who is in its compartment"
	own, _ := patientOf(a.unit) // the unit for all patients has none
	switch {
	case held.Hold.On == store.OnTenant:
		on = "the whole tenant"
	case held.Patient == own && held.Hold.On == store.OnGroup:
		on = "a Group that the patient is a member of"
	case held.Patient == own:
		on = "the patient"
	case a.job.Kind == HoldingKind:
		on = "a patient whom something is about that you own, or in whose compartment it is"
	case own == "":
		on = "a patient of the purge, and was set when the record was gone"
	}
	return &job.Failure{Permanent: true, Err: store.ErrOnHold, Reason: job.Reason{
		Code: string(fhir.CodeConflict),
		Message: fmt.Sprintf("the legal hold %s is on %s, %s: nothing more was removed; once it has ended, or who runs this server has lifted it, try the purge again",
			held.Hold.ID, on, tellUntil(held.Hold)),
	}}
}

// onAccountOf are the patients whom what is to be done to resources is of, and
// the one whose record it is for.
func (g *gathering) onAccountOf(rs []resource) []string {
	out := g.owned()
	for _, r := range rs {
		out = append(out, r.whose...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// owned is the patient whose record is gathered, if it is one's.
func (g *gathering) owned() []string {
	if g.patient == "" {
		return nil
	}
	return []string{g.patient}
}

// whose are the patients in whose compartment a version is, and whom it is about.
func whose(v *store.Version) []string {
	return slices.Concat(v.Patients, selection.Subjects(v.ID.Type, v.Body))
}

// whose are the patients on whose account a version of a resource counts. A
// Group counts for those alone that are to go.
func (g *gathering) whose(v *store.Version) []string {
	if v.ID.Type != "Group" {
		return whose(v)
	}
	var out []string
	for _, p := range v.Patients {
		if g.asked[p] {
			out = append(out, p)
		}
	}
	return out
}

// whoseOf are the patients on whose account the versions of a history count
// that are erased or detached.
func (h history) whoseOf(d decision) (out []string) {
	meant := map[int64]bool{d.detach: true}
	for _, v := range d.erase {
		meant[v.N] = true
	}
	for _, v := range h.versions {
		if meant[v.N] {
			out = append(out, v.whose...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
