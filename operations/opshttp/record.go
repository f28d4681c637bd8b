package opshttp

import (
	"cmp"
	"context"
	"strings"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/operations/job"

	"github.com/labstack/echo/v4"
)

// event is what the caller does, of a job that is still to be named.
func (h ofKind) event(c echo.Context, act job.Act) job.Event {
	p := auth.PrincipalOf(c.Request().Context())
	return job.Event{
		Act: act, Tenant: p.Tenant, By: job.Owner{Client: p.Client, User: p.User}, Kind: h.kind,
	}
}

// record records an event, or answers why what it tells of is not done.
func (h ofKind) record(ctx context.Context, e job.Event) error {
	if h.Record == nil {
		return nil
	}
	if err := h.Record(ctx, e); err != nil {
		return fhir.Errorf(fhir.Transient, "this cannot be recorded now, and nothing is done that is not recorded; try again later").Because(err)
	}
	return nil
}

// starting records one kick-off. The event comes before the job, so that no
// crash leaves a job without one; where no job came of it after all, or another
// one than was announced, a second event says so.
type starting struct {
	ofKind
	event job.Event
}

func (h ofKind) starting(c echo.Context) *starting {
	s := &starting{h, h.event(c, job.KickedOff)}
	s.event.Path = strings.TrimPrefix(strings.TrimPrefix(c.Request().URL.Path, fhirhttp.Root), "/")
	return s
}

// announce is the Announce of a call.
func (s *starting) announce(ctx context.Context, j job.Job) error {
	e := s.event
	e.Job, e.Kind = j.ID, cmp.Or(j.Kind, e.Kind) // a preview is of another kind
	if err := s.record(ctx, e); err != nil {
		return err
	}
	s.event = e
	return nil
}

// started records what was announced otherwise, or not at all.
func (s *starting) started(ctx context.Context, j job.Job) error {
	if s.event.Job == j.ID {
		return nil
	}
	if s.event.Job != "" {
		s.event.Detail = "answered with the job that was started under this Idempotency-Key before"
	}
	return s.announce(ctx, j)
}

// refused records that no job came of it, if one was announced or if the
// caller may not have one.
func (s *starting) refused(ctx context.Context, err error) error {
	switch {
	case fhir.KindOf(err) == fhir.Forbidden:
		s.event.Detail = "not allowed"
	case s.event.Job != "":
		s.event.Detail = "the job was not started"
	default:
		return err
	}
	s.event.Refused = true
	if notRecorded := s.record(ctx, s.event); notRecorded != nil {
		return notRecorded
	}
	return err
}
