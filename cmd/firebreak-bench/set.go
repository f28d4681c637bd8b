package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"

	"firebreak/fhir"
	"firebreak/operations/ingest"

	"github.com/tidwall/gjson"
)

// set is the folder that is measured over, and what of it is kept in memory.
type set struct {
	paths     []string
	resources int64
	bytes     int64
	groups    []group
	ids       []fhir.ID // drawn at random, the same ones each time
	small     [][]byte  // resources to create again, all of one type
	smallType string
}

// group is a Group of the set.
type group struct {
	id      string
	members int64
}

const (
	maxLine     = 256 << 20
	sampleIDs   = 20000
	sampleSmall = 64
	smallBytes  = 16 << 10
)

// readSet reads all files once.
func readSet(dir string) (set, error) {
	sources, err := ingest.Sources([]string{dir})
	if err != nil {
		return set{}, err
	}
	var s set
	draw := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // not a secret: the same ids are wanted again
	for _, src := range sources {
		if !src.Lines || src.Gzip {
			continue
		}
		s.paths = append(s.paths, src.Path)
		s.bytes += src.Size
		if err := eachLine(src.Path, func(line []byte) error { s.take(line, draw); return nil }); err != nil {
			return s, err
		}
	}
	if s.resources == 0 {
		return s, fmt.Errorf("%s holds no resources in .ndjson files", dir)
	}
	return s, nil
}

// take counts a line, and keeps it where it is of use.
func (s *set) take(line []byte, draw *rand.Rand) {
	s.resources++
	id := identity(line)
	// Each resource has the same chance to be among those kept.
	if len(s.ids) < sampleIDs {
		s.ids = append(s.ids, id)
	} else if i := draw.Int64N(s.resources); i < sampleIDs {
		s.ids[i] = id
	}
	if id.Type == "Group" {
		s.groups = append(s.groups, group{id.ID, gjson.GetBytes(line, "member.#").Int()})
	}
	if id.Type == "Observation" && s.smallType != id.Type || s.smallType == "" {
		s.smallType, s.small = id.Type, nil
	}
	if id.Type == s.smallType && len(s.small) < sampleSmall && len(line) <= smallBytes {
		s.small = append(s.small, slices.Clone(line))
	}
}

// smallGroup is a group of ten patients that sets of this project have.
const smallGroup = "first-10"

// measured are the groups whose export is measured: the smallest that is not
// empty, and two that sets of this project have.
func (s *set) measured() []group {
	var least group
	var out []group
	for _, g := range s.groups {
		if g.members > 0 && (least.members == 0 || g.members < least.members) {
			least = g
		}
		if g.id == smallGroup || g.id == "part-0" {
			out = append(out, g)
		}
	}
	if least.members > 0 && !slices.Contains(out, least) {
		out = append(out, least)
	}
	return out
}

// eachLine calls f with each line of a file; the line is valid until f returns.
func eachLine(path string, f func(line []byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	lines := fhir.NewLineReader(file, maxLine)
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(line.Bytes)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
}
