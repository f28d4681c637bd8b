package fhirhttp

import (
	"net/url"
	"strings"

	"firebreak/fhir"

	"github.com/labstack/echo/v4"
)

// normalPath gives a request the one spelling of its path that is routed and
// authorized: see normalise.
func normalPath(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		u := c.Request().URL
		escaped, err := normalise(u.EscapedPath())
		if err != nil {
			return err
		}
		if u.Path, err = url.PathUnescape(escaped); err != nil {
			return errPath()
		}
		u.RawPath = ""
		if strings.Contains(escaped, "%") {
			u.RawPath = escaped
		}
		return next(c)
	}
}

// normalise undoes, once, the escapes of characters that need none: letters,
// digits, "-", ".", "_", "~" and the "$" of operations. Other escapes stay, so
// that an escaped slash never becomes a separator. One slash at the end is
// dropped. Control characters and the steps "." and "..", however written, are
// refused.
func normalise(escaped string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(escaped); i++ {
		if escaped[i] != '%' {
			b.WriteByte(escaped[i])
			continue
		}
		if i+2 >= len(escaped) {
			return "", errPath()
		}
		high, low := hexValue(escaped[i+1]), hexValue(escaped[i+2])
		if high < 0 || low < 0 {
			return "", errPath()
		}
		if c := byte(high<<4 | low); isPlain(c) {
			b.WriteByte(c)
		} else {
			b.WriteString(strings.ToUpper(escaped[i : i+3]))
		}
		i += 2
	}
	path := b.String()
	if !safeSteps(path) {
		return "", errPath()
	}
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	return path, nil
}

func errPath() error {
	return fhir.Errorf(fhir.Invalid, "the address is malformed, or has a step that is . or ..")
}

// safeSteps tells whether the path, all escapes undone, has no control
// character and no step "." or "..".
func safeSteps(path string) bool {
	plain, err := url.PathUnescape(path)
	if err != nil {
		return false
	}
	for i := range len(plain) {
		if plain[i] < ' ' || plain[i] == 0x7f {
			return false
		}
	}
	for step := range strings.FieldsFuncSeq(plain, func(r rune) bool { return r == '/' || r == '\\' }) {
		if step == "." || step == ".." {
			return false
		}
	}
	return true
}

func isPlain(c byte) bool {
	return isAlphanumeric(c) || strings.IndexByte("-._~$", c) >= 0
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// hexValue is the value of a hexadecimal digit, or -1.
func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
