package fetch

import (
	"bytes"
	"errors"
	"fmt"
)

// state is what a later run must know of an earlier one, kept in StateName.
type state struct {
	Request         string   `json:"request"`
	Key             string   `json:"key"` // of the kick-off, so that one whose answer was lost is not a second job
	StatusURL       string   `json:"statusURL,omitempty"`
	TransactionTime string   `json:"transactionTime,omitempty"`
	Files           []record `json:"files,omitempty"`
}

// record ties a place in the manifest to a name, as URLs may be other ones when a manifest is asked for again.
type record struct {
	Section Section `json:"section"`
	Type    string  `json:"type"`
	Name    string  `json:"name"`
}

// begin finds the export under way in the folder, or enters a new one.
func (c *Client) begin(f folder, kickoff string) (state, error) {
	var s state
	if err := f.readJSON(StateName, &s); err != nil {
		return state{}, err
	}
	begun := s.StatusURL != "" || len(s.Files) > 0
	switch finished, err := f.exists(ManifestName); {
	case err != nil:
		return state{}, err
	case s.Request == kickoff:
		return s, nil
	case begun:
		return state{}, fmt.Errorf("%s holds an unfinished export of another request: "+
			"repeat that one to finish it, or choose another directory", f.Name())
	case finished:
		return state{}, fmt.Errorf("%s holds a finished export: choose another directory", f.Name())
	}
	s = state{Request: kickoff, Key: c.NewKey()}
	return s, f.writeJSON(StateName, s)
}

// adopt settles which file has which name. When it returns, a file of a planned name is one that this export has
// fetched, and so is a part.
func (s *state) adopt(f folder, done Completed, items []item) error {
	if len(s.Files) > 0 {
		return s.again(f, done, items)
	}
	finished, err := f.read(ManifestName)
	switch {
	case err != nil:
		return err
	case bytes.Equal(finished, done.Raw):
		return nil
	case finished != nil:
		return fmt.Errorf("%s holds another export, which is finished: choose another directory", f.Name())
	}
	for _, it := range items {
		if err := it.claim(f); err != nil {
			return err
		}
		s.Files = append(s.Files, record{it.section, it.Type, it.name})
	}
	s.TransactionTime = done.Manifest.TransactionTime
	return f.writeJSON(StateName, s)
}

// again gives the files the names they had in an earlier run.
func (s *state) again(f folder, done Completed, items []item) error {
	same := s.TransactionTime == done.Manifest.TransactionTime && len(s.Files) == len(items)
	for i := 0; same && i < len(items); i++ {
		same = s.Files[i].Section == items[i].section && s.Files[i].Type == items[i].Type && isSafeName(s.Files[i].Name)
		items[i].name = s.Files[i].Name
	}
	if !same {
		return fmt.Errorf("%s holds an unfinished export with another manifest: choose another directory", f.Name())
	}
	return nil
}

// claim takes the name of a file in a folder whose past is unknown: a file that is there already must be the very
// same one, by its checksum.
func (it item) claim(f folder) error {
	if err := f.drop(it.name+partSuffix, it.name+markSuffix); err != nil {
		return err
	}
	there, err := f.exists(it.name)
	if err != nil || !there {
		return err
	}
	sum, err := digestOf(f, it.name)
	if err != nil {
		return err
	}
	if it.integrity() == nil || it.check(sum) != nil {
		return fmt.Errorf("%s holds a file %s that is not of this export: choose another directory", f.Name(), it.name)
	}
	return nil
}

// isOver tells an answer after which the job is not worth asking for again.
func isOver(err error) bool {
	status, ok := errors.AsType[*StatusError](err)
	return ok && !status.Transient && status.Status != 401 && status.Status != 403 && status.Status != 407
}
