package fhir

import (
	"bytes"
	"strconv"
	"strings"
)

// span is where a member stands: its name from name, its value [start, end).
type span struct{ name, start, end int }

func (s span) zero() bool { return s.end == 0 }

// members is where the members stand that every resource may have.
type members struct {
	typ, id, meta    span
	version, updated span // within meta
}

func (o members) emptyMeta() bool { return !o.meta.zero() && o.meta.end-o.meta.start == len(`{}`) }

// serverMeta lists the members of meta that the server says, the last first.
func (o members) serverMeta() []span {
	a, b := o.version, o.updated
	if a.start < b.start {
		a, b = b, a
	}
	switch {
	case a.zero():
		return nil
	case b.zero():
		return []span{a}
	}
	return []span{a, b}
}

// outline finds the members of a compact and valid JSON object, and refuses
// what JSON allows and Firebreak does not: see Reader.Read.
func outline(b []byte) (members, error) {
	if len(b) == 0 || b[0] != '{' {
		return members{}, Errorf(Invalid, "a resource is one JSON object").With(CodeStructure)
	}
	var o members
	err := eachMember(b, 0, func(name []byte, s span) {
		switch string(name) {
		case "resourceType":
			o.typ = s
		case "id":
			o.id = s
		case "meta":
			o.meta = s
		}
	})
	if err != nil || o.meta.zero() || b[o.meta.start] != '{' {
		return o, err
	}
	return o, eachMember(b, o.meta.start, func(name []byte, s span) {
		switch string(name) {
		case "versionId":
			o.version = s
		case "lastUpdated":
			o.updated = s
		}
	})
}

// eachMember calls f for each member of the object that begins at b[i].
func eachMember(b []byte, i int, f func(name []byte, s span)) error {
	for i++; b[i] != '}'; {
		nameEnd, err := nameEnd(b, i)
		if err != nil {
			return err
		}
		end, err := valueEnd(b, nameEnd+1)
		if err != nil {
			return err
		}
		f(b[i+1:nameEnd-1], span{name: i, start: nameEnd + 1, end: end})
		if i = end; b[i] == ',' {
			i++
		}
	}
	return nil
}

// valueEnd is the index behind the value that begins at b[i], a member of the
// resource or of its meta.
func valueEnd(b []byte, i int) (int, error) {
	const outer = 1 // the resource itself
	depth := outer
	for {
		var err error
		switch b[i] {
		case '{', '[':
			if depth++; depth > MaxDepth {
				return 0, Errorf(Invalid, "objects and arrays nest over %d deep at byte %d", MaxDepth, i).With(CodeStructure)
			}
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':':
			i++
		case '"':
			if i, err = stringEnd(b, i); err == nil && b[i] == ':' {
				err = plainName(b, i)
			}
		default: // a number, true, false or null
			i += bytes.IndexAny(b[i:], ",]}")
		}
		if err != nil {
			return 0, err
		}
		if depth == outer {
			return i, nil
		}
	}
}

// nameEnd is the index behind the member's name that begins at b[i].
func nameEnd(b []byte, i int) (int, error) {
	end, err := stringEnd(b, i)
	if err != nil {
		return 0, err
	}
	return end, plainName(b, end)
}

// plainName refuses a name, ending before b[end], that is written with an
// escape: it would hide from all that looks for members by their names.
func plainName(b []byte, end int) error {
	if b[end-2] == '\\' || bytes.IndexByte(b[bytes.LastIndexByte(b[:end-1], '"')+1:end-1], '\\') >= 0 {
		return Errorf(Invalid, "a member's name is written with an escape before byte %d", end).With(CodeStructure)
	}
	return nil
}

// stringEnd is the index behind the string that begins at i. It refuses a NUL.
func stringEnd(b []byte, i int) (int, error) {
	for j := i + 1; ; {
		quote := j + bytes.IndexByte(b[j:], '"')
		slash := bytes.IndexByte(b[j:quote], '\\')
		if slash < 0 {
			return quote + 1, nil
		}
		j += slash
		if bytes.HasPrefix(b[j:], []byte(`\u0000`)) {
			return 0, Errorf(Invalid, "a string holds the character NUL at byte %d", j).With(CodeValue)
		}
		j += 2
	}
}

// position turns an offset into line and column, both from 1.
func position(b []byte, offset int) (line, column int) {
	offset = min(max(offset, 0), len(b))
	before := b[:offset]
	return 1 + bytes.Count(before, []byte("\n")), offset - bytes.LastIndexByte(before, '\n')
}

// maxExpression is about how many characters an expression has at most.
const maxExpression = 200

// expression turns a JSON pointer into FHIRPath: "/name/0/given" into
// "name[0].given". A name that no element of FHIR can have ends it, as it may
// be anything, a patient's data too; so does maxExpression.
func expression(pointer string) string {
	var s strings.Builder
	for i, name := range strings.Split(pointer[:min(len(pointer), 4*maxExpression)], "/") {
		if i == 0 {
			continue
		}
		if s.Len() > maxExpression {
			break
		}
		if _, err := strconv.Atoi(name); err == nil && s.Len() > 0 {
			s.WriteString("[" + name + "]")
			continue
		}
		if !isElementName(name) {
			break
		}
		if s.Len() > 0 {
			s.WriteByte('.')
		}
		s.WriteString(name)
	}
	return s.String()
}

func isElementName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}
