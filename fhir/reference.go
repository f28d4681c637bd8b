package fhir

import "strings"

// Reference is the literal of a Reference.reference, taken apart (R4
// references, "literal references"). Type and ID are set when it names a
// resource by type and id; Base is set as well when it does so by an absolute
// URL. Anything else, urn:uuid: and urn:oid: among it, is kept whole in URI. A
// Reference with a Fragment alone names a resource contained in the same one.
type Reference struct {
	Base     string // "https://example.org/fhir", without the last slash
	Type     string
	ID       string
	Version  string // "" for the current version
	Fragment string // without "#"
	URI      string
}

// ParseReference takes a literal apart; nothing is refused, as what is not
// understood is a URI. A relative reference, or the end of an http or https
// URL, has the form Type/id or Type/id/_history/version, and perhaps a fragment
// at its end. Which names are types of resources is what known says. String of
// the result is s again.
func ParseReference(s string, known func(string) bool) Reference {
	address, fragment, has := strings.Cut(s, "#")
	switch {
	case has && fragment == "":
		return Reference{URI: s}
	case address == "":
		return Reference{Fragment: fragment}
	}
	base, path := splitBase(address)
	r, ok := parsePath(path, known)
	if !ok || base != "" && !isBase(base) {
		return Reference{URI: s}
	}
	r.Base, r.Fragment = base, fragment
	return r
}

// splitBase divides an address with a scheme before its last two steps, or its
// last four when it names a version. One without a scheme is all path.
func splitBase(address string) (base, path string) {
	if !strings.Contains(address, "://") {
		return "", address
	}
	steps := 2
	if i := lastSlash(address, 2); i >= 0 && strings.HasPrefix(address[i:], "/_history/") {
		steps = 4
	}
	i := lastSlash(address, steps)
	if i < 0 {
		return "", address
	}
	return address[:i], address[i+1:]
}

// lastSlash is the index of the nth slash from the end, or -1.
func lastSlash(s string, n int) int {
	i := len(s)
	for ; n > 0 && i >= 0; n-- {
		i = strings.LastIndexByte(s[:i], '/')
	}
	return i
}

// parsePath reads Type/id[/_history/version].
func parsePath(path string, known func(string) bool) (Reference, bool) {
	resource, version, versioned := strings.Cut(path, "/_history/")
	if versioned && CheckID(version) != nil {
		return Reference{}, false
	}
	name, id, _ := strings.Cut(resource, "/")
	if CheckID(id) != nil || !known(name) {
		return Reference{}, false
	}
	return Reference{Type: name, ID: id, Version: version}, true
}

// isBase tells whether a text can be the base of a FHIR server: http or https,
// a host, and no query.
func isBase(s string) bool {
	host, ok := strings.CutPrefix(s, "http://")
	if !ok {
		host, ok = strings.CutPrefix(s, "https://")
	}
	return ok && host != "" && host[0] != '/' && !strings.ContainsAny(host, "? \t\r\n")
}

// Local tells whether the reference is relative and names a resource, so that
// it can only mean one of the same server. An absolute one may mean the same:
// who knows its own base compares Base.
func (r Reference) Local() bool { return r.Base == "" && r.Type != "" }

// Contained tells whether the reference names a resource inside the one it
// stands in, or, as "#", that one itself.
func (r Reference) Contained() bool {
	return r.Type == "" && (r.Fragment != "" || r.URI == "#")
}

// URN tells whether the reference is a urn:uuid: or urn:oid:, which names an
// entry of the Bundle it stands in (R4 Bundle, "Resolving references").
func (r Reference) URN() bool {
	return strings.HasPrefix(r.URI, "urn:uuid:") || strings.HasPrefix(r.URI, "urn:oid:")
}

// Target is the identity that is referred to; the zero ID where the reference
// gives no type and id.
func (r Reference) Target() ID { return ID{Type: r.Type, ID: r.ID} }

// String gives the literal.
func (r Reference) String() string {
	var b strings.Builder
	b.WriteString(r.URI)
	if r.Base != "" {
		b.WriteString(r.Base + "/")
	}
	if r.Type != "" {
		b.WriteString(r.Type + "/" + r.ID)
	}
	if r.Version != "" {
		b.WriteString("/_history/" + r.Version)
	}
	if r.Fragment != "" {
		b.WriteString("#" + r.Fragment)
	}
	return b.String()
}
