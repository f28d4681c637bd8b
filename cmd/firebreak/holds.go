package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/hold"
	"firebreak/store"
)

// holdsAPI serves the legal holds to those who run the server, and to nobody
// else: at the operator's address.
type holdsAPI struct {
	holds    *hold.Holds
	isTenant func(name string) bool
	log      *slog.Logger
}

// holdJSON is a hold as it is sent and shown.
type holdJSON struct {
	ID       string     `json:"id,omitempty"`
	Tenant   string     `json:"tenant,omitempty"`
	On       string     `json:"on"`
	By       string     `json:"by"`
	Why      string     `json:"why"`
	Set      *time.Time `json:"set,omitempty"`
	Until    *time.Time `json:"until,omitempty"`
	Lifted   *time.Time `json:"lifted,omitempty"`
	LiftedBy string     `json:"liftedBy,omitempty"`
	Stands   *bool      `json:"stands,omitempty"`
	Patients int        `json:"patients,omitempty"` // how many it is on, when it was set
	LeftOut  int        `json:"leftOut,omitempty"`  // members of the Group that it is not on
}

// holdsJSON is a page of holds.
type holdsJSON struct {
	Holds []holdJSON `json:"holds"`
	Next  string     `json:"next,omitempty"` // what after is for the next page
}

func newHoldJSON(t store.Tenant, h store.Hold) holdJSON {
	stands := h.Stands(time.Now())
	return holdJSON{
		ID: h.ID, Tenant: string(t), On: hold.Subject(h), By: h.By, Why: h.Why, Set: &h.Set,
		Until: given(h.Until), Lifted: given(h.Lifted), LiftedBy: h.LiftedBy, Stands: &stands,
	}
}

// given is an instant; nil if it is none.
func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// routes adds the addresses of holds to those of the operator.
func (a holdsAPI) routes(mux *http.ServeMux) {
	for pattern, h := range map[string]func(r *http.Request, q url.Values) (status int, body any, err error){
		"POST /holds": a.set, "GET /holds": a.list, "DELETE /holds/{id}": a.lift,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			status, body, err := http.StatusForbidden, any(nil), error(errNotHere)
			if isHere(r.Host) {
				status, body, err = a.asked(r, h)
			}
			if err != nil {
				status, body = a.failed(r.Context(), err)
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(body) // a client that is gone is no fault
		})
	}
}

// errNotHere refuses what a page of another site may have had a browser ask.
var errNotHere = fhir.Errorf(fhir.Forbidden, "holds are at 127.0.0.1 or localhost, and under no other name")

// isHere tells whether a Host header names this machine.
func isHere(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// asked reads the query, which a handler takes what it knows from.
func (a holdsAPI) asked(r *http.Request, h func(*http.Request, url.Values) (int, any, error)) (int, any, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return 0, nil, fhir.Errorf(fhir.Invalid, "the query cannot be read")
	}
	return h(r, q)
}

// only refuses parameters that are not known, or given twice.
func only(q url.Values, known ...string) error {
	for name, values := range q {
		if !slices.Contains(known, name) || len(values) > 1 {
			return fhir.Errorf(fhir.Invalid, "a parameter is not known here, or given twice; there are %v", known)
		}
	}
	return nil
}

// tenant is the tenant of a name; "": the default one.
func (a holdsAPI) tenant(name string) (store.Tenant, error) {
	name = cmp.Or(name, auth.DefaultTenant)
	if name != auth.DefaultTenant && !a.isTenant(name) {
		return "", fhir.Errorf(fhir.NotFound, "there is no such tenant")
	}
	return store.Tenant(name), nil
}

// set is POST /holds.
func (a holdsAPI) set(r *http.Request, q url.Values) (int, any, error) {
	order, err := readHold(r)
	if err == nil {
		err = only(q)
	}
	if err != nil {
		return 0, nil, err
	}
	t, err := a.tenant(order.Tenant)
	if err != nil {
		return 0, nil, err
	}
	o := hold.Order{On: order.On, By: order.By, Why: order.Why}
	if order.Until != nil {
		o.Until = *order.Until
	}
	made, err := a.holds.Set(r.Context(), t, o)
	if err != nil {
		return 0, nil, err
	}
	out := newHoldJSON(t, made.Hold)
	out.Patients, out.LeftOut = made.Patients, made.LeftOut
	return http.StatusCreated, out, nil
}

// maxHold is the most bytes of a hold that is sent.
const maxHold = 64 << 10

// readHold reads what a hold is to be. The media type keeps pages of other
// sites out: no browser sends it for them unasked.
func readHold(r *http.Request) (h holdJSON, err error) {
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || typ != "application/json" {
		return h, fhir.Errorf(fhir.MediaType, "send the hold as application/json")
	}
	d := json.NewDecoder(io.LimitReader(r.Body, maxHold))
	d.DisallowUnknownFields()
	err = d.Decode(&h)
	if err == nil && d.Decode(&struct{}{}) != io.EOF {
		err = errors.New("there is more behind it")
	}
	made := h.ID != "" || h.LiftedBy != "" || h.Set != nil || h.Lifted != nil || h.Stands != nil || h.Patients != 0 || h.LeftOut != 0
	if err != nil || made {
		return h, fhir.Errorf(fhir.Invalid, `a hold is one JSON object such as {"on":"Patient/ID","by":"WHO","why":"REASON","until":"2027-01-31T00:00:00Z"}; until and tenant may be left out`).With(fhir.CodeStructure)
	}
	return h, nil
}

// list is GET /holds.
func (a holdsAPI) list(r *http.Request, q url.Values) (int, any, error) {
	if err := only(q, "tenant", "ended", "after", "n"); err != nil {
		return 0, nil, err
	}
	t, err := a.tenant(q.Get("tenant"))
	if err != nil {
		return 0, nil, err
	}
	n, err := strconv.Atoi(cmp.Or(q.Get("n"), "100"))
	ended, bad := strconv.ParseBool(cmp.Or(q.Get("ended"), "false"))
	if err != nil || bad != nil || n < 1 || n > 1000 {
		return 0, nil, fhir.Errorf(fhir.Invalid, "n is a number from 1 to 1000, ended is true or false")
	}
	all, err := a.holds.List(r.Context(), t, ended, q.Get("after"), n)
	if err != nil {
		return 0, nil, err
	}
	out := holdsJSON{Holds: []holdJSON{}}
	for _, h := range all {
		out.Holds = append(out.Holds, newHoldJSON(t, h))
	}
	if len(all) == n {
		out.Next = all[n-1].ID
	}
	return http.StatusOK, out, nil
}

// lift is DELETE /holds/{id}.
func (a holdsAPI) lift(r *http.Request, q url.Values) (int, any, error) {
	if err := only(q, "tenant", "by"); err != nil {
		return 0, nil, err
	}
	t, err := a.tenant(q.Get("tenant"))
	if err != nil {
		return 0, nil, err
	}
	h, err := a.holds.Lift(r.Context(), t, r.PathValue("id"), q.Get("by"))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, newHoldJSON(t, h), nil
}

// failed is how an error is shown.
func (a holdsAPI) failed(ctx context.Context, err error) (status int, body map[string]string) {
	e := fhir.AsError(err)
	if e.Kind == fhir.Internal && (errors.Is(err, store.ErrTransient) || errors.Is(err, store.ErrFull)) {
		e = fhir.Errorf(fhir.Transient, "the database does not answer now, or is full; look with GET /holds whether it was done").Because(err)
	}
	if e.Err != nil && ctx.Err() == nil {
		a.log.Error("an act on holds failed", "error", e.Err)
	}
	return fhirhttp.Status(e.Kind), map[string]string{"error": e.Error()}
}
