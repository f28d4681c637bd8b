package fetch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config says which server is spoken to, and how. All but Base may be left zero.
type Config struct {
	// HTTP is used as it is but for redirects, with which no credentials go to another origin. The default has no
	// time limit of its own: see Stall.
	HTTP *http.Client
	// Base is the server's FHIR base URL, http or https, such as "https://ehr.example/fhir".
	Base string
	// Credentials say who asks. Nil: nobody in particular.
	Credentials Credentials
	// Wait returns after the duration, or with ctx's error when ctx ends first. The default is a timer.
	Wait func(ctx context.Context, d time.Duration) error
	// Now is the clock of the Report's durations.
	Now func() time.Time
	// NewKey makes the Idempotency-Key of a kick-off; the default is random.
	NewKey func() string
	// Progress hears what goes on. It is never called twice at a time and must not block.
	Progress func(Progress)
	// Parallel is how many files are downloaded at once; 4 by default.
	Parallel int
	// Attempts is how often in a row something is tried without getting any further; 10 by default.
	Attempts int
	// Stall is how long a download may go without a byte, and a kick-off or a poll may take; 2 minutes by default.
	Stall time.Duration
	// Gzip asks for compressed files. They are stored uncompressed all the same.
	Gzip bool
	// InsecureCredentialsToAnyHost sends the credentials to whatever host a status or file URL names.
	InsecureCredentialsToAnyHost bool
}

// Step is a part of the conversation with the server.
type Step string

// The steps, in their order.
const (
	StepKickoff  Step = "kick-off"
	StepPoll     Step = "status"
	StepDownload Step = "download"
	StepDelete   Step = "delete"
)

// Progress is how far a run is.
type Progress struct {
	Step Step
	// Text is the server's own X-Progress, when polling; it may be empty.
	Text string
	// Files, Resources and Bytes are what has been downloaded so far. They go down when a file has to be fetched
	// anew.
	Files, Resources, Bytes int64
	// AllFiles is the number of files in the manifest; AllResources is 0 if the manifest does not tell.
	AllFiles, AllResources int64
}

// Client speaks to one server. It is safe for use by several goroutines; its fields are not to be changed.
type Client struct {
	Config
	base *url.URL
}

// New checks cfg and fills in the defaults.
func New(cfg Config) (*Client, error) {
	base, err := url.Parse(strings.TrimRight(cfg.Base, "/"))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the server's base URL: %w", bare(err))
	case !isHTTP(base):
		return nil, errors.New("the server's base URL must begin with http:// or https://")
	case base.RawQuery != "" || base.Fragment != "" || base.User != nil:
		return nil, errors.New("the server's base URL may have no query, fragment or user in it")
	}
	c := &Client{Config: cfg, base: base}
	c.defaults()
	guarded := *c.HTTP
	guarded.CheckRedirect = redirects(c.HTTP.CheckRedirect)
	c.HTTP = &guarded
	return c, nil
}

func (c *Client) defaults() {
	if c.HTTP == nil {
		c.HTTP = &http.Client{}
	}
	if c.Wait == nil {
		c.Wait = wait
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewKey == nil {
		c.NewKey = rand.Text
	}
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.Parallel <= 0 {
		c.Parallel = 4
	}
	if c.Attempts <= 0 {
		c.Attempts = 10
	}
	if c.Stall <= 0 {
		c.Stall = 2 * time.Minute
	}
}

// wait is the default of Config.Wait.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
