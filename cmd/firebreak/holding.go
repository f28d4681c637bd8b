package main

import (
	"context"
	"errors"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/interaction"
	"firebreak/operations/job"
	"firebreak/operations/opshttp"
	"firebreak/operations/purge"

	"github.com/labstack/echo/v4"
)

// The paths beside the FHIR base: what clients of 1upHealth's bulk purge know,
// and the versions of FHIR for which there is none.
const (
	besideR4    = "/r4"
	besideDSTU2 = "/dstu2"
	besideSTU3  = "/stu3"
	purgePath   = "/$purge"
)

func besides() []string { return []string{besideR4, besideDSTU2, besideSTU3} }

// holdingOperation is the purge of a holding as /metadata lists it.
func holdingOperation(says string) interaction.Operation {
	return interaction.Operation{Name: "purge", Definition: "https://firebreak.dev/fhir/OperationDefinition/purge-holding", Says: says}
}

// kickoffHolding starts the purge of a holding; plain: without previews.
func kickoffHolding(x *purge.Purge, plain bool) func(context.Context, auth.Principal, opshttp.TaskCall) (job.Job, error) {
	return func(ctx context.Context, p auth.Principal, c opshttp.TaskCall) (job.Job, error) {
		return x.KickoffHolding(ctx, p, purge.HoldingCall{Params: c.Params, Key: c.Key, Plain: plain, Announce: c.Announce})
	}
}

// holdingTask hands $purge of all that the caller owns to HTTP.
func holdingTask(x *purge.Purge) opshttp.Task {
	return opshttp.Task{
		Kind: purge.HoldingKind, Name: "$purge", Status: purgePath + "/:job", Live: true,
		Routes:  []opshttp.TaskRoute{{Path: purgePath, Async: true}},
		Kickoff: kickoffHolding(x, false), MayRetry: x.MayRetryHolding, Limit: x.Limit(purge.HoldingKind), Result: x.HoldingProgress,
	}
}

// bulkPurge hands the same jobs to HTTP as 1upHealth's bulk purge.
func bulkPurge(x *purge.Purge) opshttp.Beside {
	kickoff := kickoffHolding(x, true)
	return opshttp.Beside{
		Kind: purge.HoldingKind, Path: besideR4 + purgePath, Show: x.Bulk, Name: purge.UUID, ID: purge.JobID, Limit: x.Limit(purge.HoldingKind),
		Kickoff: func(ctx context.Context, p auth.Principal, c opshttp.TaskCall) (job.Job, error) {
			j, err := kickoff(ctx, p, c)
			return j, asUUID(err)
		},
		MayRetry: func(ctx context.Context, p auth.Principal, j job.Job) error {
			return asUUID(x.MayRetryHolding(ctx, p, j))
		},
	}
}

// asUUID has an error call the job that is under way as these clients do.
func asUUID(err error) error {
	if other := (*purge.UnderWayError)(nil); errors.As(err, &other) {
		return purge.NewUnderWay(other.Job, purge.UUID(other.Job))
	}
	return err
}

// registerBulkPurge adds the bulk purge, and says of other versions of FHIR that
// they have none.
func registerBulkPurge(e *echo.Echo, cfg opshttp.Config, x *purge.Purge, middleware ...echo.MiddlewareFunc) {
	opshttp.RegisterBeside(e, cfg, bulkPurge(x), middleware...)
	none := func(echo.Context) error {
		return fhir.Errorf(fhir.NotFound, "there is data of FHIR R4 only; ask for %s%s", besideR4, purgePath)
	}
	for _, path := range []string{besideDSTU2, besideSTU3} {
		e.Any(path+purgePath, none)
		e.Any(path+purgePath+"/:job", none)
	}
}
