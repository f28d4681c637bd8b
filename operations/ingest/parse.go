package ingest

import (
	"fmt"

	"firebreak/fhir/interaction"
)

// parseAll parses chunks until there are no more.
func (l *loading) parseAll() {
	for c := range l.toParse {
		for i := range c.items {
			if c.items[i].line != nil {
				l.parse(&c.items[i])
				c.items[i].line = nil
			}
		}
		close(c.parsed)
	}
}

func (l *loading) parse(it *item) {
	r, err := l.cfg.Reader.Read(it.line)
	switch {
	case err != nil:
		it.fail(it.place, err)
	case r.ID.Type == "Bundle" && (it.bundle || r.ID.ID == ""):
		l.entries(it)
	case r.ID.ID == "":
		it.fail(it.place, fmt.Errorf("the %s has no id; resources are stored under their own ids", r.ID.Type))
	default:
		it.found = append(it.found, found{it.place, r})
	}
}

// entries takes a Bundle apart.
func (l *loading) entries(it *item) {
	entries, err := interaction.EntriesOf(l.cfg.Reader, it.line)
	if err != nil {
		it.fail(it.place, err)
		return
	}
	for _, e := range entries {
		place := it.place
		place.Entry = e.Index + 1
		if e.Err != nil {
			it.fail(place, e.Err)
			continue
		}
		it.found = append(it.found, found{place, e.Resource})
		if n := len(e.Unresolved); n > 0 {
			err := fmt.Errorf("%d urn: references name no entry of the Bundle and were left as they are", n)
			it.problems = append(it.problems, Problem{Place: place, Err: err, Warning: true})
		}
	}
}

func (it *item) fail(at Place, err error) {
	it.problems = append(it.problems, Problem{Place: at, Err: err})
}
