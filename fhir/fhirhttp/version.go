package fhirhttp

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"firebreak/fhir"
)

// ETag is the ETag of a versionId: W/"3".
func ETag(version int64) string { return `W/"` + strconv.FormatInt(version, 10) + `"` }

// SetVersion says in the headers which version the answer shows.
func SetVersion(h http.Header, version int64, lastUpdated time.Time) {
	h.Set("ETag", ETag(version))
	h.Set("Last-Modified", lastUpdated.UTC().Format(http.TimeFormat))
}

// NotModified tells whether the client of a GET has what the headers of the
// answer name already, by If-None-Match, or by If-Modified-Since where that is
// absent. The answer is 304 then.
func NotModified(r *http.Request, answer http.Header) bool {
	if tags := splitList(r.Header.Values("If-None-Match"), ','); len(tags) > 0 {
		for _, tag := range tags {
			if tag == "*" || strong(tag) == strong(answer.Get("ETag")) {
				return true
			}
		}
		return false
	}
	since, err := http.ParseTime(r.Header.Get("If-Modified-Since"))
	if err != nil {
		return false
	}
	modified, err := http.ParseTime(answer.Get("Last-Modified"))
	return err == nil && !modified.After(since)
}

// strong is a tag without its mark of weakness: tags are compared weakly.
func strong(tag string) string { return strings.TrimPrefix(tag, "W/") }

// IfMatch is the versionId that a write expects; 0 where the client expects
// none. W/"3", "3", and both without quotes, are understood. Nothing else can be
// used, and a well-formed tag that is no versionId is one that does not match.
func IfMatch(r *http.Request) (int64, error) {
	tags := splitList(r.Header.Values("If-Match"), ',')
	switch {
	case len(r.Header.Values("If-Match")) == 0:
		return 0, nil
	case len(tags) != 1 || tags[0] == "*":
		return 0, fhir.Errorf(fhir.Invalid, `If-Match must name one version, such as W/"3"`)
	}
	tag := strong(tags[0])
	version := unquote(tag)
	n, err := strconv.ParseInt(version, 10, 64)
	switch {
	case err == nil && n > 0 && strconv.FormatInt(n, 10) == version:
		return n, nil
	case version != tag:
		return 0, fhir.Errorf(fhir.Precondition, "the current version is not the one that If-Match names")
	}
	return 0, fhir.Errorf(fhir.Invalid, `If-Match must name one version, such as W/"3"`)
}

// CreateOnly tells whether a write is meant only for what is not there yet:
// If-None-Match: *. Another If-None-Match cannot be used on a write.
func CreateOnly(r *http.Request) (bool, error) {
	switch tags := splitList(r.Header.Values("If-None-Match"), ','); {
	case len(tags) == 0:
		return false, nil
	case len(tags) == 1 && tags[0] == "*":
		return true, nil
	}
	return false, fhir.Errorf(fhir.Invalid, "of If-None-Match, a write understands * only")
}
