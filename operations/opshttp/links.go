package opshttp

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"firebreak/auth"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"
	"firebreak/store"

	"github.com/labstack/echo/v4"
)

// Links makes the URLs of files signed: whoever has one can fetch that file
// without a token until it ends, and a manifest that is asked for again has
// new ones (Bulk Data, requiresAccessToken: false).
type Links struct {
	Key      []byte        // secret; 32 bytes
	Lifetime time.Duration // of a link
}

// The parameters of a signed URL.
const (
	untilParam     = "until"
	signatureParam = "signature"
)

// sign is the signature of one file of one job until an instant, in seconds
// since 1970.
func (l *Links) sign(tenant, jobID, file string, until int64) string {
	mac := hmac.New(sha256.New, l.Key)
	_, _ = fmt.Fprintf(mac, "%q %q %q %d", tenant, jobID, file, until) // a hash's Write has no error
	return hex.EncodeToString(mac.Sum(nil))
}

// signed tells whether the request's URL is one that was signed and has not
// ended.
func (h handler) signed(c echo.Context) bool {
	query := c.QueryParams()
	until, err := strconv.ParseInt(query.Get(untilParam), 10, 64)
	if h.Links == nil || err != nil || h.Now().Unix() >= until {
		return false
	}
	want := h.Links.sign(tenantOf(c), c.Param("job"), c.Param("file"), until)
	return hmac.Equal([]byte(want), []byte(query.Get(signatureParam)))
}

func tenantOf(c echo.Context) string {
	return cmp.Or(fhirhttp.TenantOf(c.Request().Context()), auth.DefaultTenant)
}

// fileURL makes the URLs of a job's files. A link does not outlive its job, and
// a file that the caller may not read is not signed: its plain URL asks for a
// token that may.
func (h handler) fileURL(c echo.Context, j job.Job) func(p job.Part, name string) string {
	base := statusURL(c, h.op.Status(), j.ID) + "/"
	if h.Links == nil {
		return func(_ job.Part, name string) string { return base + name }
	}
	who := auth.PrincipalOf(c.Request().Context())
	until := min(h.Now().Add(h.Links.Lifetime).Unix(), j.Expires.Unix())
	return func(p job.Part, name string) string {
		if h.op.May(who, j, p) != nil {
			return base + name
		}
		query := url.Values{
			untilParam:     {strconv.FormatInt(until, 10)},
			signatureParam: {h.Links.sign(j.Tenant, j.ID, name, until)},
		}
		return base + name + "?" + query.Encode()
	}
}

// unlessSigned leaves a middleware out for signed URLs: they need no token.
func (h handler) unlessSigned(m echo.MiddlewareFunc) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		guarded := m(next)
		return func(c echo.Context) error {
			if h.signed(c) {
				return next(c)
			}
			return guarded(c)
		}
	}
}

// jobOfFile finds the job of a file that is asked for: the caller's, or the one
// for which the URL was signed. Who has that acts for the job's owner.
func (h handler) jobOfFile(c echo.Context) (j job.Job, signed bool, err error) {
	if signed = h.signed(c); signed {
		ctx := c.Request().Context()
		if j, err = h.Store.Peek(ctx, store.Tenant(tenantOf(c)), c.Param("job")); err != nil {
			return j, signed, busy(err)
		}
		owner := auth.Principal{Tenant: j.Tenant, Client: j.Owner.Client, User: j.Owner.User}
		c.SetRequest(c.Request().WithContext(auth.WithPrincipal(ctx, owner)))
	}
	j, verdict, err := h.job(c)
	if err == nil && verdict != job.Ready {
		err = absent()
	}
	return j, signed, err
}
