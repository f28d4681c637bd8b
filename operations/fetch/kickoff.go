package fetch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// Level is whose data is exported.
type Level string

// The three levels at which Bulk Data defines $export. There is no default: exporting everything must be meant.
const (
	LevelSystem   Level = "system"
	LevelPatients Level = "patients"
	LevelGroup    Level = "group"
)

// Request is what an export is asked for.
type Request struct {
	Level Level
	// Group is the id of the Group, for LevelGroup only.
	Group string
	// Types are the resource types (_type); none means all.
	Types []string
	// Since is an instant (_since), such as the transactionTime of an earlier manifest.
	Since string
	// OutputFormat is sent as _outputFormat if it is not empty.
	OutputFormat string
	// Query holds further parameters, such as _typeFilter.
	Query url.Values
	// Key is sent as Idempotency-Key if it is not empty.
	Key string
}

// Kickoff starts an export and returns its absolute status URL. A server that is too busy is asked again, as often
// as Config.Attempts says; any other refusal is a StatusError.
func (c *Client) Kickoff(ctx context.Context, r Request) (statusURL string, err error) {
	target, err := c.kickoffURL(r)
	if err != nil {
		return "", err
	}
	c.Progress(Progress{Step: StepKickoff})
	for p := c.patience(); ; {
		a, err := c.send(ctx, http.MethodGet, target, kickoffHeader(r))
		if err != nil {
			return "", fmt.Errorf("%s: %w", StepKickoff, err)
		}
		if a.status == http.StatusAccepted {
			return contentLocation(a)
		}
		refused := failed(StepKickoff, a.status, a.header, a.body, c.Now())
		// After these two no job has been started; after a 502 or 504 there may be one.
		refused.Transient = a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable
		if err := p.pause(ctx, refused); err != nil {
			return "", err
		}
	}
}

func kickoffHeader(r Request) http.Header {
	h := http.Header{"Accept": {"application/fhir+json"}, "Prefer": {"respond-async"}}
	if r.Key != "" {
		h.Set("Idempotency-Key", r.Key)
	}
	return h
}

// kickoffURL is the same for the same request, so that it can tell one export from another.
func (c *Client) kickoffURL(r Request) (string, error) {
	path, err := r.path()
	if err != nil {
		return "", err
	}
	q := url.Values{}
	maps.Copy(q, r.Query)
	for name, value := range map[string]string{
		"_type": strings.Join(r.Types, ","), "_since": r.Since, "_outputFormat": r.OutputFormat,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	target := c.base.String() + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	return target, nil
}

func (r Request) path() (string, error) {
	if r.Group != "" && r.Level != LevelGroup {
		return "", errors.New("a group's id goes with the level of a group only")
	}
	switch r.Level {
	case LevelSystem:
		return "/$export", nil
	case LevelPatients:
		return "/Patient/$export", nil
	case LevelGroup:
		if strings.Trim(r.Group, ".") == "" {
			return "", errors.New("the export of a group needs the group's id")
		}
		return "/Group/" + url.PathEscape(r.Group) + "/$export", nil
	}
	return "", errors.New("say what to export: the system, all patients, or a group")
}

// contentLocation finds the status URL. The standard wants it absolute; a relative one is understood as well.
func contentLocation(a answer) (string, error) {
	text := a.header.Get("Content-Location")
	if text == "" {
		return "", &permanentError{errors.New("kick-off: the server accepted the export but gave no Content-Location")}
	}
	u, err := a.url.Parse(text)
	if err != nil || !isHTTP(u) {
		return "", &permanentError{errors.New("kick-off: the server's Content-Location is not a URL of http or https")}
	}
	return u.String(), nil
}
