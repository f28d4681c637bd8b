package fhirhttp

import "strings"

// splitList divides the values of a repeated header at a separator that is not
// within quotes, and drops what is empty.
func splitList(values []string, separator byte) []string {
	var parts []string
	for _, v := range values {
		start, quoted := 0, false
		for i := 0; i < len(v); i++ {
			switch {
			case v[i] == '"':
				quoted = !quoted
			case v[i] == '\\' && quoted:
				i++
			case v[i] == separator && !quoted:
				parts = appendPart(parts, v[start:i])
				start = i + 1
			}
		}
		parts = appendPart(parts, v[start:])
	}
	return parts
}

func appendPart(parts []string, s string) []string {
	if s = strings.Trim(s, " \t"); s != "" {
		parts = append(parts, s)
	}
	return parts
}

// splitPair divides name=value; the name is in lower case, quotes around the
// value are undone.
func splitPair(s string) (name, value string) {
	name, value, _ = strings.Cut(s, "=")
	return strings.ToLower(strings.Trim(name, " \t")), unquote(strings.Trim(value, " \t"))
}

func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' && i+1 < len(s)-1 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
