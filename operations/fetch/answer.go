package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
)

const (
	maxManifest = 64 << 20 // of an answer that is read as a whole
	maxOutcome  = 1 << 20  // of one that tells of an error
	maxText     = 500      // characters of it that are shown
)

// answer is a response read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
	url    *url.URL // after redirects
}

// send is sendBody without a body.
func (c *Client) send(ctx context.Context, method, target string, header http.Header) (answer, error) {
	return c.sendBody(ctx, method, target, header, nil)
}

// sendBody makes one small request, nothing of which is a file. Its errors do not show the URL, which may hold search
// values or be a secret itself.
func (c *Client) sendBody(ctx context.Context, method, target string, header http.Header, content io.Reader) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Stall)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return answer{}, bare(err)
	}
	req.Header = header
	if err := c.authorize(req); err != nil {
		return answer{}, err
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return answer{}, bare(err)
	}
	defer func() { _ = resp.Body.Close() }()
	limit := int64(maxManifest)
	if resp.StatusCode >= 300 {
		limit = maxOutcome
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return answer{}, bare(err)
	case int64(len(body)) > limit && resp.StatusCode < 300:
		return answer{}, &permanentError{fmt.Errorf("the answer is longer than %d bytes", limit)}
	}
	return answer{resp.StatusCode, resp.Header, body, resp.Request.URL}, nil
}

// bare takes the URL out of an error of net/http.
func bare(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// StatusError is an answer that ends a step. Its text says what to do next.
type StatusError struct {
	Step   Step
	Status int
	// Text is what the server's OperationOutcome says, shortened; empty if it says nothing.
	Text string
	// Transient means that the same request may well succeed later.
	Transient bool
	// RetryAfter is how long the server asks to wait, never more than a minute; 0 if it does not ask.
	RetryAfter time.Duration
}

// Error tells the status, what the server says, and what to do.
func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s: the server answered %d %s", e.Step, e.Status, http.StatusText(e.Status))
	if e.Text != "" {
		s += ": " + e.Text
	}
	if a := e.advice(); a != "" {
		s += " (" + a + ")"
	}
	return s
}

func (e *StatusError) advice() string {
	gone := e.Status == http.StatusNotFound || e.Status == http.StatusGone
	switch {
	case e.Status == http.StatusUnauthorized:
		return "give an access token, or a client's credentials, that this server takes"
	case e.Status == http.StatusForbidden:
		return "ask for credentials whose scopes cover this"
	case e.Transient:
		return "try again later"
	case gone && e.Step == StepKickoff:
		return "check the group's id, the base URL, and whether the server offers an export at this level"
	case gone && e.Step == StepPoll:
		return "the server no longer has this export: start another"
	case gone && e.Step == StepDownload:
		return "the server no longer has this file: export again, into another directory"
	case e.Step == StepPoll:
		return "the export has failed on the server: start another"
	}
	return ""
}

// failed makes the error of an answer that is not the one hoped for.
func failed(step Step, status int, header http.Header, body []byte, now time.Time) *StatusError {
	e := &StatusError{Step: step, Status: status}
	e.RetryAfter, _ = retryAfter(header, now)
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e.Transient = true
	}
	var outcome struct {
		ResourceType string
		Issue        []struct {
			Code, Diagnostics string
			Details           struct{ Text string }
		}
	}
	if json.Unmarshal(body, &outcome) != nil || outcome.ResourceType != "OperationOutcome" {
		return e
	}
	var texts []string
	for _, i := range outcome.Issue {
		e.Transient = e.Transient || isTransient(i.Code)
		if text := strings.TrimSpace(i.Diagnostics); text != "" {
			texts = append(texts, text)
		} else if text := strings.TrimSpace(i.Details.Text); text != "" {
			texts = append(texts, text)
		}
	}
	e.Text = shorten(strings.Join(texts, "; "))
	return e
}

// isTransient knows the issue type "transient" and those below it, without "exception" and "incomplete", which
// servers use for failures that no waiting mends.
func isTransient(code string) bool {
	switch code {
	case "transient", "lock-error", "no-store", "timeout", "throttled":
		return true
	}
	return false
}

// shorten makes a server's text fit for one line of a terminal.
func shorten(s string) string {
	kept := make([]rune, 0, maxText)
	for _, r := range s {
		if len(kept) == maxText {
			return string(kept) + "…"
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		kept = append(kept, r)
	}
	return string(kept)
}
