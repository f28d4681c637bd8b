package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"firebreak/fhir"
	"firebreak/operations/fetch"

	"github.com/tidwall/gjson"
)

// checker follows a chain of exports as a client would that keeps a copy: it
// applies what each export tells, and notes what cannot be.
type checker struct {
	run    string // what the ids of this run begin with
	dir    string
	since  string
	rounds int

	told    map[string]content // the copy
	seen    map[string]bool    // ids of the present round, by section
	changes int
	deleted int
	faults  []string
}

// maxFaults is how many faults are listed; all are counted by their last.
const maxFaults = 20

func (c *checker) fault(format string, args ...any) {
	if len(c.faults) < maxFaults {
		c.faults = append(c.faults, fmt.Sprintf(format, args...))
	}
}

func (c *checker) sums() string {
	return fmt.Sprintf("%d changes and %d deletions told, %d faults", c.changes, c.deleted, len(c.faults))
}

// file takes in a file of the present round.
func (c *checker) file(path string, section fetch.Section) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := fhir.NewLineReader(f, 64<<20)
	for {
		line, err := lines.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case section == fetch.SectionOutput:
			c.change(line.Bytes)
		case section == fetch.SectionDeleted:
			c.deletions(line.Bytes)
		}
	}
}

func (c *checker) once(id string) bool {
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	if c.seen[id] {
		c.fault("export %d tells of %s twice", c.rounds, id)
		return false
	}
	c.seen[id] = true
	return true
}

// change takes in a resource that changed.
func (c *checker) change(line []byte) {
	id := gjson.GetBytes(line, "id").String()
	if !strings.HasPrefix(id, c.run+"-") || !c.once(id) {
		return
	}
	c.changes++
	write, err := strconv.Atoi(gjson.GetBytes(line, "identifier.0.value").String())
	if err != nil {
		c.fault("export %d has %s without what was written to it", c.rounds, id)
		return
	}
	now := content{write, gjson.GetBytes(line, "meta.versionId").String() + " of " + gjson.GetBytes(line, "meta.lastUpdated").String()}
	if was, ok := c.told[id]; ok && was.version == now.version {
		c.fault("export %d repeats version %s of %s", c.rounds, now.version, id)
	} else if ok && now.write < was.write {
		c.fault("export %d goes back with %s, from write %d to %d", c.rounds, id, was.write, now.write)
	}
	c.told[id] = now
}

// deletions takes in a transaction Bundle of deletions.
func (c *checker) deletions(line []byte) {
	gjson.GetBytes(line, "entry.#.request.url").ForEach(func(_, url gjson.Result) bool {
		id := url.String()[strings.LastIndexByte(url.String(), '/')+1:]
		if strings.HasPrefix(id, c.run+"-") && c.once(id) {
			c.deleted++
			delete(c.told, id)
		}
		return true
	})
}

func (c *checker) endRound() { c.seen = nil }

// compare compares the copy with what was written last.
func (c *checker) compare(truth map[string]int) {
	for id, write := range truth {
		told, ok := c.told[id]
		switch {
		case write == 0 && ok:
			c.fault("%s was deleted, and no export told so", id)
		case write > 0 && !ok:
			c.fault("%s was written, and no export told so, or one told that it was deleted", id)
		case write > 0 && told.write != write:
			c.fault("%s was last written by %d; the chain has %d", id, write, told.write)
		}
	}
	for id := range c.told {
		if _, ok := truth[id]; !ok {
			c.fault("%s was never written", id)
		}
	}
}
