package fetch

import (
	"context"
	"errors"
	"fmt"
)

// Run exports into dir: it kicks off, polls and downloads, or continues what an earlier run with the same request
// and directory has begun. It refuses a directory that holds another export. The job stays on the server: Delete
// removes it.
func (c *Client) Run(ctx context.Context, r Request, dir string) (Report, error) {
	target, err := c.kickoffURL(r)
	if err != nil {
		return Report{}, err
	}
	f, err := openFolder(dir)
	if err != nil {
		return Report{}, err
	}
	defer func() { _ = f.Close() }()
	s, err := c.begin(f, target)
	if err != nil {
		return Report{}, err
	}
	start, resumed := c.Now(), s.StatusURL != ""
	if !resumed {
		err = c.start(ctx, f, &s, r)
	}
	var done Completed
	if err == nil {
		done, err = c.Poll(ctx, s.StatusURL)
	}
	if err != nil {
		return Report{}, s.leave(f, err)
	}
	prepared := c.Now()
	report, err := c.download(ctx, f, s, done)
	report.Resumed, report.Preparing = resumed, prepared.Sub(start)
	return report, err
}

// start kicks off under the key that is already on disk, and notes the answer.
func (c *Client) start(ctx context.Context, f folder, s *state, r Request) error {
	if r.Key == "" {
		r.Key = s.Key
	}
	statusURL, err := c.Kickoff(ctx, r)
	if err != nil {
		return err
	}
	s.StatusURL = statusURL
	return f.writeJSON(StateName, s)
}

// leave forgets a job that is over, so that the next run starts another; not if there are files of it, which would
// be mixed with the other's.
func (s *state) leave(f folder, cause error) error {
	if !isOver(cause) {
		return cause
	}
	if len(s.Files) > 0 {
		return fmt.Errorf("%w; the files so far are of no use: remove %s or choose another directory", cause, f.Name())
	}
	return errors.Join(cause, f.drop(StateName))
}
