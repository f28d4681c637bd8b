package fetch

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"firebreak/fhir"
)

// Completed is an export that the server has finished.
type Completed struct {
	StatusURL string
	Manifest  fhir.Manifest
	// Raw is the manifest byte for byte as the server sent it.
	Raw []byte
}

// Poll asks until the export has finished, as often as the server's Retry-After says or else after 100 ms and then
// less and less often, every 5 s at last. A passing fault of the server or of the network is not taken for the
// job's: it is asked again, as often in a row as Config.Attempts says.
func (c *Client) Poll(ctx context.Context, statusURL string) (Completed, error) {
	var delay backoff
	for p := c.patience(); ; {
		a, err := c.ask(ctx, statusURL)
		if err != nil {
			if err := p.pause(ctx, err); err != nil {
				return Completed{}, err
			}
			continue
		}
		if a.status == http.StatusOK {
			return completed(statusURL, a)
		}
		p.restore()
		c.Progress(Progress{Step: StepPoll, Text: shorten(a.header.Get("X-Progress"))})
		d, given := retryAfter(a.header, c.Now())
		if !given {
			d = delay.next()
		}
		if err := c.Wait(ctx, d); err != nil {
			return Completed{}, err
		}
	}
}

// ask polls once. Its answer is 200 or 202, all else is an error.
func (c *Client) ask(ctx context.Context, statusURL string) (answer, error) {
	a, err := c.send(ctx, http.MethodGet, statusURL, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", StepPoll, err)
	}
	if a.status != http.StatusOK && a.status != http.StatusAccepted {
		return answer{}, failed(StepPoll, a.status, a.header, a.body, c.Now())
	}
	return a, nil
}

func completed(statusURL string, a answer) (Completed, error) {
	done := Completed{StatusURL: statusURL, Raw: a.body}
	if err := json.Unmarshal(a.body, &done.Manifest); err != nil {
		return Completed{}, &permanentError{fmt.Errorf("%s: the server says the export has finished, "+
			"but sent no manifest that can be read: %w", StepPoll, err)}
	}
	return done, nil
}

// Delete tells the server that the export is no longer wanted: to stop it, or, when it has finished, to remove its
// files.
func (c *Client) Delete(ctx context.Context, statusURL string) error {
	a, err := c.send(ctx, http.MethodDelete, statusURL, http.Header{"Accept": {"application/fhir+json"}})
	if err != nil {
		return fmt.Errorf("%s: %w", StepDelete, err)
	}
	if a.status < 200 || a.status > 299 {
		return failed(StepDelete, a.status, a.header, a.body, c.Now())
	}
	return nil
}
