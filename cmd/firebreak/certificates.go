package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"firebreak/auth"
	"firebreak/operations/certificate"
	"firebreak/operations/opshttp"
	"firebreak/operations/purge"
	"firebreak/store"

	"github.com/labstack/echo/v4"
)

// openKeys reads the keys of certificates, where purges have any.
func (s *Server) openKeys() (err error) {
	if path := s.opts.keysFile(); path != "" {
		s.keys, err = openKeyring(path, s.log)
	}
	return err
}

// certify is how purges are certified; nil if they are not.
func (s *Server) certify() func(context.Context, store.Fence, purge.Proof) error {
	if s.keys == nil {
		return nil
	}
	issuer := certificate.Issuer{Store: s.store, Keys: s.keys.now, Now: time.Now, Name: cmp.Or(s.opts.PublicBase, "firebreak")}
	return func(ctx context.Context, f store.Fence, p purge.Proof) error {
		return issuer.Issue(ctx, f, statementOf(p), p.Asked(), p.Patients)
	}
}

// statementOf is what a certificate says of a purge.
func statementOf(p purge.Proof) certificate.Statement {
	s := certificate.Statement{
		Client: p.Job.Owner.Client, User: p.Job.Owner.User, Kind: p.Job.Kind,
		Asked: certificate.Asked{
			At: p.Job.Created.UTC(), Shared: string(p.Request.Shared), Audit: "keep", Verify: "index", Group: p.Request.Group != "",
			Plan: p.Request.Hash,
		},
		TransactionTime: p.Job.TransactionTime.UTC(), Started: p.Job.Started.UTC(), Ended: p.Ended.UTC(),
		Counts: certificate.Counts{
			Before: certificate.CountOf(p.Before), Erased: certificate.CountOf(p.Erased), ByType: map[string]certificate.Count{},
			Detached: p.Detached, Kept: p.Kept, Since: p.Since, LeftOut: p.LeftOut,
		},
		Look: "index", Scrub: certificate.Scrub{State: "overwritten", Elsewhere: []string{"backups", "freed-blocks"}},
	}
	if p.Job.Kind == purge.HoldingKind {
		s.Asked.Audit, s.Asked.Verify, s.Look = "purge", "full", "full"
		s.Asked.Types, s.Asked.Before, s.Asked.Plan = p.Holding.Types, p.Holding.Before, p.Holding.Hash
	}
	s.Counts.After.Resources = p.Before.Resources - p.Erased.Resources
	s.Counts.After.Versions = p.Before.Versions - p.Erased.Versions
	for typ, n := range p.ByType {
		s.Counts.ByType[typ] = certificate.CountOf(n)
	}
	if p.Request.Audit {
		s.Asked.Audit = "purge"
	}
	if p.Request.Full {
		s.Asked.Verify, s.Look = "full", "full"
	}
	if p.Traces.Unknown || !p.Traces.Until.IsZero() {
		s.Scrub.State, s.Scrub.Elsewhere = "unknown", append(s.Scrub.Elsewhere, "database-log")
	}
	if until := p.Traces.Until.UTC(); !until.IsZero() {
		s.Scrub.Until = &until
	}
	return s
}

// saysCertified is what /metadata says of the certificates of purges.
func saysCertified(certified bool) string {
	if certified {
		return "Each purge that succeeds has a signed certificate, at [base]/jobs/{id}/certificate; [base]/.well-known/jwks.json has the keys that verify it."
	}
	return "Purges have no certificate: this server was given no keys to sign them with."
}

// certificateRoutes serves certificates to the owners of their jobs, and the
// public keys to anyone.
func (s *Server) certificateRoutes(e *echo.Echo, base *echo.Group, ops opshttp.Config, who echo.MiddlewareFunc) {
	opshttp.RegisterCertificates(base, ops, opshttp.Certificates{
		Kinds: []string{purge.Kind, purge.BulkKind, purge.HoldingKind},
		Of: func(ctx context.Context, t store.Tenant, id string) ([]byte, error) {
			c, err := s.store.Certificate(ctx, t, id)
			return c.Doc, err
		},
	}, who)
	if s.keys == nil {
		return
	}
	const path = "/.well-known/jwks.json"
	methods := []string{http.MethodGet, http.MethodHead}
	e.Match(methods, path, s.publicKeys)
	base.Match(methods, path, s.publicKeys)
}

// publicKeys answers with the keys that verify certificates.
func (s *Server) publicKeys(c echo.Context) error {
	doc, err := s.keys.now().Public()
	if err != nil {
		return err
	}
	c.Response().Header().Set("Cache-Control", "public, max-age=300")
	return c.Blob(http.StatusOK, "application/jwk-set+json", doc)
}

// certificatesShown is how many certificates a page of the operator's list has.
const certificatesShown = 20

// listCertificates answers with the certificates of a tenant, the latest first;
// those too whose jobs are gone.
func (s *Server) listCertificates(w http.ResponseWriter, r *http.Request) {
	type shown struct {
		Number      int64  `json:"number"`
		Job         string `json:"job"`
		Certificate string `json:"certificate"`
	}
	page := struct {
		Certificates []shown `json:"certificates"`
		Next         string  `json:"next,omitempty"`
	}{Certificates: []shown{}}
	query := r.URL.Query()
	tenant := cmp.Or(query.Get("tenant"), auth.DefaultTenant)
	before, err := strconv.ParseInt(cmp.Or(query.Get("before"), "0"), 10, 64)
	if err != nil || before < 0 {
		answerHealth(w, http.StatusBadRequest, "before is the number of a certificate")
		return
	}
	found, err := s.store.Certificates(r.Context(), store.Tenant(tenant), before, certificatesShown)
	if err != nil {
		s.log.Error("list the certificates", "error", err)
		answerHealth(w, http.StatusServiceUnavailable, "the store does not answer now")
		return
	}
	for _, c := range found {
		page.Certificates = append(page.Certificates, shown{c.Number, c.Job, string(c.Doc)})
	}
	if n := len(found); n == certificatesShown && found[n-1].Number > 1 {
		page.Next = fmt.Sprintf("/certificates?tenant=%s&before=%d", url.QueryEscape(tenant), found[n-1].Number)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(page) // a client that is gone is no fault
}
