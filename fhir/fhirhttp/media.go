package fhirhttp

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"firebreak/fhir"

	"github.com/labstack/echo/v4"
)

// FHIRJSON is the media type of FHIR's JSON.
const FHIRJSON = "application/fhir+json"

// offeredJSON are the names of JSON in which resources are shown, the best
// first. A client that asks by a generic name is answered by it.
func offeredJSON() []string { return []string{FHIRJSON, "application/json", "text/json"} }

const mediaName = "fhirhttp.media"

// Negotiate is the middleware of routes that answer with resources: a client
// that cannot take JSON gets 406. The parameter _format overrides Accept.
func Negotiate(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		media, ok := wanted(c)
		if !ok {
			return fhir.Errorf(fhir.NotAccept, "only JSON is offered: ask for %s", FHIRJSON)
		}
		c.Set(mediaName, media)
		c.Response().Header().Add(echo.HeaderVary, echo.HeaderAccept)
		return next(c)
	}
}

func wanted(c echo.Context) (string, bool) {
	query := c.QueryParams()
	if !query.Has("_format") {
		return Offer(c.Request().Header.Values(echo.HeaderAccept), offeredJSON()...)
	}
	format := query.Get("_format")
	if format == "json" {
		return FHIRJSON, true
	}
	// A plus that was not escaped arrives as a space.
	format = strings.Replace(format, "application/fhir json", FHIRJSON, 1)
	if format == "" {
		return "", false
	}
	return Offer([]string{format}, offeredJSON()...)
}

// Offer picks the media type that the values of Accept want most, and among
// equals the first; all are wanted where there is no Accept. It is false when
// none is wanted. A range for another version of FHIR than 4.0 wants none.
func Offer(accept []string, offered ...string) (string, bool) {
	list := splitList(accept, ',')
	if len(list) == 0 {
		return offered[0], true
	}
	ranges := parseRanges(list)
	best, most := "", 0.0
	for _, media := range offered {
		if q := quality(ranges, media); q > most {
			best, most = media, q
		}
	}
	return best, most > 0
}

// mediaRange is one element of an Accept header.
type mediaRange struct {
	media string // "application/json", "application/*" or "*/*"
	q     float64
}

func parseRanges(list []string) []mediaRange {
	var ranges []mediaRange
	for _, s := range list {
		media, params, err := mime.ParseMediaType(s)
		if err != nil || !isR4(params) {
			continue
		}
		q := 1.0
		if s, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(s, 64); err != nil || !(q >= 0 && q <= 1) {
				continue
			}
		}
		ranges = append(ranges, mediaRange{media: media, q: q})
	}
	return ranges
}

// quality is how much a media type is wanted: what the closest range says.
func quality(ranges []mediaRange, media string) float64 {
	kind, _, _ := strings.Cut(media, "/")
	for _, form := range []string{media, kind + "/*", "*/*"} {
		q, found := 0.0, false
		for _, r := range ranges {
			if r.media == form {
				q, found = max(q, r.q), true
			}
		}
		if found {
			return q
		}
	}
	return 0
}

// isR4 tells whether a media type's parameter fhirVersion, if it is there, is
// that of R4.
func isR4(params map[string]string) bool {
	version, ok := params["fhirversion"]
	return !ok || version == "4.0" || strings.HasPrefix(version, "4.0.")
}

// checkBodyType refuses a body that is not said to be JSON in UTF-8.
func checkBodyType(h http.Header) error {
	if coding := h.Get(echo.HeaderContentEncoding); coding != "" && !strings.EqualFold(coding, "identity") {
		return fhir.Errorf(fhir.MediaType, "a body with a Content-Encoding is not understood; send it as it is")
	}
	media, params, err := mime.ParseMediaType(h.Get(echo.HeaderContentType))
	if err != nil || !isR4(params) {
		return errMediaType()
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return errMediaType()
	}
	for _, known := range offeredJSON() {
		if media == known {
			return nil
		}
	}
	return errMediaType()
}

func errMediaType() *fhir.Error {
	return fhir.Errorf(fhir.MediaType, "a body must be JSON of FHIR 4.0 in UTF-8, sent with Content-Type: %s", FHIRJSON)
}
