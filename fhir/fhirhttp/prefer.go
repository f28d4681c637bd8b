package fhirhttp

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Prefer is what a client prefers (RFC 7240). What is unknown, and values that
// are, count as not said.
type Prefer struct {
	RespondAsync bool
	Handling     string        // "lenient", "strict" or ""
	Return       string        // "minimal", "representation", "OperationOutcome" or ""
	Wait         time.Duration // 0: not said
}

// ParsePrefer reads all Prefer headers as one list. Of a preference given twice
// the first counts.
func ParsePrefer(h http.Header) Prefer {
	var p Prefer
	seen := map[string]bool{}
	for _, preference := range splitList(h.Values("Prefer"), ',') {
		parts := splitList([]string{preference}, ';')
		if len(parts) == 0 {
			continue
		}
		name, value := splitPair(parts[0])
		if !seen[name] {
			seen[name] = true
			p.set(name, value)
		}
	}
	return p
}

func (p *Prefer) set(name, value string) {
	switch name {
	case "respond-async":
		p.RespondAsync = true
	case "handling":
		p.Handling = oneOf(value, "lenient", "strict")
	case "return":
		p.Return = oneOf(value, "minimal", "representation", "OperationOutcome")
	case "wait":
		if n, err := strconv.ParseUint(value, 10, 31); err == nil {
			p.Wait = time.Duration(n) * time.Second
		}
	}
}

// oneOf is the known word that s is, whatever its case; "" for none.
func oneOf(s string, known ...string) string {
	for _, k := range known {
		if strings.EqualFold(s, k) {
			return k
		}
	}
	return ""
}
