package rest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firebreak/auth"
	"firebreak/fhir"
	"firebreak/fhir/fhirhttp"
	"firebreak/fhir/interaction"
	"firebreak/fhir/rest"
	"firebreak/store/sqlite"

	"github.com/labstack/echo/v4"
	"github.com/oklog/ulid/v2"
)

const (
	limit = 2000
	base  = "https://ehr.example.org/fhir"
)

// newServer gives the API over a new SQLite store. Who asks is what who says.
func newServer(t *testing.T, who func(*http.Request) (auth.Principal, error)) *echo.Echo {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Config{Dir: t.TempDir(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	var n atomic.Int64
	newID := func() string { return fmt.Sprintf("new-%d", n.Add(1)) }
	e := echo.New()
	fhirhttp.Install(e, fhirhttp.Config{
		Origin: fhirhttp.Origin{PublicBase: base}, NewID: newID, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	rest.Routes(e.Group(fhirhttp.Root), rest.Config{
		Service: interaction.New(interaction.Config{
			Store: db, NewID: newID, NewBatchID: ulid.Make, Limits: interaction.Limits{Resource: limit},
		}),
		MaxBody: limit, Metadata: interaction.Capability{Version: "1"}.JSON(),
	}, rest.WithPrincipal(who))
	return e
}

func local(*http.Request) (auth.Principal, error) { return auth.Local(), nil }

// request is one call of a test; a body is sent as application/fhir+json.
type request struct {
	method, path string
	body         string
	header       map[string]string
}

func do(e *echo.Echo, q request) *httptest.ResponseRecorder {
	var body io.Reader
	if q.body != "" {
		body = strings.NewReader(q.body)
	}
	r := httptest.NewRequest(q.method, q.path, body)
	if q.body != "" {
		r.Header.Set("Content-Type", "application/fhir+json")
	}
	for k, v := range q.header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w
}

// want checks a status, and that every error is an OperationOutcome in FHIR's JSON.
func want(t *testing.T, what string, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Errorf("%s: %d %.300s, want %d", what, w.Code, w.Body, status)
	}
	if w.Code < 400 || w.Body.Len() == 0 {
		return
	}
	var o struct {
		ResourceType string
		Issue        []struct{ Severity, Code, Diagnostics string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil || o.ResourceType != "OperationOutcome" || len(o.Issue) != 1 || o.Issue[0].Diagnostics == "" {
		t.Errorf("%s: no OperationOutcome: %s", what, w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != "application/fhir+json" {
		t.Errorf("%s: Content-Type %s", what, got)
	}
}

func patient(id, rest string) string {
	return `{"resourceType":"Patient","id":"` + id + `"` + rest + `}`
}

func TestCreateAnswersWhereTheResourceIs(t *testing.T) {
	e := newServer(t, local)
	w := do(e, request{method: "POST", path: "/fhir/Patient", body: patient("mine", `,"active":true`)})
	want(t, "create", w, 201)
	h := w.Header()
	location, ok := strings.CutPrefix(h.Get("Location"), base+"/Patient/new-")
	if !ok || !strings.HasSuffix(location, "/_history/1") || h.Get("ETag") != `W/"1"` || h.Get("Last-Modified") == "" {
		t.Errorf("headers are %v", h)
	}
	path := strings.TrimPrefix(h.Get("Location"), "https://ehr.example.org")
	again := do(e, request{method: "GET", path: path})
	want(t, "at the Location", again, 200)
	if again.Body.String() != w.Body.String() || !strings.Contains(w.Body.String(), `"versionId":"1"`) {
		t.Errorf("created %s\nread %s", w.Body, again.Body)
	}
	want(t, "under the client's id", do(e, request{method: "GET", path: "/fhir/Patient/mine"}), 404)
}

func TestAResourceLivesOverHTTP(t *testing.T) {
	e := newServer(t, local)
	for i, step := range []struct {
		request
		status int
		etag   string
	}{
		{request{"PUT", "/fhir/Patient/p", patient("p", ""), nil}, 201, `W/"1"`},
		{request{"PUT", "/fhir/Patient/p", patient("p", ""), nil}, 200, `W/"1"`},
		{request{"PUT", "/fhir/Patient/p", patient("p", `,"active":true`), nil}, 200, `W/"2"`},
		{request{"GET", "/fhir/Patient/p", "", nil}, 200, `W/"2"`},
		{request{"HEAD", "/fhir/Patient/p", "", nil}, 200, `W/"2"`},
		{request{"GET", "/fhir/Patient/p/_history/1", "", nil}, 200, `W/"1"`},
		{request{"DELETE", "/fhir/Patient/p", "", nil}, 204, `W/"3"`},
		{request{"DELETE", "/fhir/Patient/p", "", nil}, 204, `W/"3"`},
		{request{"GET", "/fhir/Patient/p", "", nil}, 410, `W/"3"`},
		{request{"GET", "/fhir/Patient/p/_history/3", "", nil}, 410, `W/"3"`},
		{request{"GET", "/fhir/Patient/p/_history/2", "", nil}, 200, `W/"2"`},
		{request{"PUT", "/fhir/Patient/p", patient("p", ""), nil}, 201, `W/"4"`},
		{request{"DELETE", "/fhir/Patient/never", "", nil}, 204, ``},
	} {
		w := do(e, step.request)
		want(t, fmt.Sprint(i, step.request), w, step.status)
		if got := w.Header().Get("ETag"); got != step.etag {
			t.Errorf("%d %v: ETag %s, want %s", i, step.request, got, step.etag)
		}
		if located := w.Header().Get("Location") != ""; located != (step.status == 201) {
			t.Errorf("%d: Location is %q", i, w.Header().Get("Location"))
		}
		if step.method == "HEAD" && (w.Body.Len() > 0 || w.Header().Get("Content-Length") == "0") {
			t.Errorf("HEAD: %q, %v", w.Body, w.Header())
		}
	}
}

func TestConditionsInHeadersAreKept(t *testing.T) {
	e := newServer(t, local)
	put := func(id, header, value string) *httptest.ResponseRecorder {
		return do(e, request{"PUT", "/fhir/Patient/" + id, patient(id, fmt.Sprintf(`,"x":%q`, header+value)), map[string]string{header: value}})
	}
	want(t, "first", put("p", "X-None", ""), 201)
	for _, c := range []struct {
		id, header, value string
		status            int
	}{
		{"p", "If-Match", `W/"2"`, 412},
		{"p", "If-Match", `W/"abc"`, 412},
		{"p", "If-Match", `*`, 400},
		{"p", "If-Match", `W/"1", W/"2"`, 400},
		{"p", "If-Match", ``, 400},
		{"p", "If-None-Match", `W/"1"`, 400},
		{"p", "If-None-Match", `*`, 412},
		{"absent", "If-Match", `W/"1"`, 412},
		{"p", "If-Match", `W/"1"`, 200},
		{"p", "If-Match", `"2"`, 200},
		{"p", "If-Match", `3`, 200},
		{"new", "If-None-Match", `*`, 201},
	} {
		want(t, fmt.Sprint(c), put(c.id, c.header, c.value), c.status)
	}
	want(t, "delete of another version", do(e, request{"DELETE", "/fhir/Patient/p", "", map[string]string{"If-Match": `W/"1"`}}), 412)
	want(t, "delete if it is not there", do(e, request{"DELETE", "/fhir/Patient/p", "", map[string]string{"If-None-Match": `*`}}), 400)
	want(t, "delete of this version", do(e, request{"DELETE", "/fhir/Patient/p", "", map[string]string{"If-Match": `W/"4"`}}), 204)
}

func TestAReadIsNotRepeatedForWhoHasIt(t *testing.T) {
	e := newServer(t, local)
	modified := do(e, request{"PUT", "/fhir/Patient/p", patient("p", ""), nil}).Header().Get("Last-Modified")
	for _, c := range []struct {
		header, value string
		status        int
	}{
		{"If-None-Match", `W/"1"`, 304},
		{"If-None-Match", `W/"2"`, 200},
		{"If-Modified-Since", modified, 304},
		{"If-Modified-Since", "Mon, 02 Jan 2006 15:04:05 GMT", 200},
	} {
		w := do(e, request{"GET", "/fhir/Patient/p", "", map[string]string{c.header: c.value}})
		want(t, fmt.Sprint(c), w, c.status)
		if c.status == 304 && (w.Body.Len() > 0 || w.Header().Get("ETag") != `W/"1"`) {
			t.Errorf("304 with %q, %v", w.Body, w.Header())
		}
	}
}

func TestAWriteAnswersWithWhatIsPreferred(t *testing.T) {
	e := newServer(t, local)
	for prefer, says := range map[string]string{
		"": `"resourceType":"Patient"`, "return=representation": `"resourceType":"Patient"`, "handling=strict": `"resourceType":"Patient"`,
		"return=OperationOutcome": `"code":"informational"`, "return=minimal": "",
	} {
		w := do(e, request{"POST", "/fhir/Patient", patient("x", ""), map[string]string{"Prefer": prefer}})
		want(t, prefer, w, 201)
		if says == "" && w.Body.Len() > 0 || !strings.Contains(w.Body.String(), says) {
			t.Errorf("%q: %s", prefer, w.Body)
		}
		if w.Header().Get("Location") == "" || w.Header().Get("ETag") == "" {
			t.Errorf("%q: %v", prefer, w.Header())
		}
	}
}

func TestBadRequestsAreRefusedWithAnOutcome(t *testing.T) {
	e := newServer(t, local)
	want(t, "first", do(e, request{"PUT", "/fhir/Patient/p", patient("p", ""), nil}), 201)
	long := strings.Repeat("a", 65)
	media := func(s string) map[string]string { return map[string]string{"Content-Type": s} }
	for name, c := range map[string]struct {
		request
		status int
	}{
		"malformed":             {request{"PUT", "/fhir/Patient/p", `{"resourceType":"Patient","id":"p"`, nil}, 400},
		"not JSON":              {request{"POST", "/fhir/Patient", `<Patient/>`, nil}, 400},
		"a list":                {request{"POST", "/fhir/Patient", `[]`, nil}, 400},
		"a name twice":          {request{"POST", "/fhir/Patient", `{"resourceType":"Patient","id":"1","id":"1"}`, nil}, 400},
		"empty":                 {request{"POST", "/fhir/Patient", "", media("application/fhir+json")}, 400},
		"white space":           {request{"POST", "/fhir/Patient", " \n", nil}, 400},
		"XML":                   {request{"POST", "/fhir/Patient", `<Patient/>`, media("application/fhir+xml")}, 415},
		"no media type":         {request{"POST", "/fhir/Patient", `{}`, media("")}, 415},
		"a form":                {request{"POST", "/fhir/Patient", `a=b`, media("application/x-www-form-urlencoded")}, 415},
		"XML wanted":            {request{"GET", "/fhir/Patient/p", "", map[string]string{"Accept": "application/fhir+xml"}}, 406},
		"XML wanted by format":  {request{"GET", "/fhir/Patient/p?_format=xml", "", nil}, 406},
		"XML wanted of a write": {request{"PUT", "/fhir/Patient/not-written", patient("not-written", ""), map[string]string{"Accept": "application/fhir+xml"}}, 406},
		"oversize":              {request{"PUT", "/fhir/Patient/p", patient("p", `,"x":"`+strings.Repeat("a", limit)+`"`), nil}, 413},
		"another id":            {request{"PUT", "/fhir/Patient/p", patient("q", ""), nil}, 400},
		"no id":                 {request{"PUT", "/fhir/Patient/p", `{"resourceType":"Patient"}`, nil}, 400},
		"another type":          {request{"PUT", "/fhir/Observation/p", patient("p", ""), nil}, 400},
		"another type, new":     {request{"POST", "/fhir/Observation", patient("p", ""), nil}, 400},
		"a long id to write":    {request{"PUT", "/fhir/Patient/" + long, patient(long, ""), nil}, 400},
		"a long id to read":     {request{"GET", "/fhir/Patient/" + long, "", nil}, 404},
		"a slash in an id":      {request{"GET", "/fhir/Patient/p%2F_history%2F1", "", nil}, 404},
		"climbing":              {request{"GET", "/fhir/Patient/%2e%2e/metadata", "", nil}, 400},
		"unknown type":          {request{"GET", "/fhir/Patent/p", "", nil}, 404},
		"a type in lower case":  {request{"GET", "/fhir/patient/p", "", nil}, 404},
		"unknown type, new":     {request{"POST", "/fhir/Patent", `{"resourceType":"Patent"}`, nil}, 404},
		"no type":               {request{"GET", "/fhir//p", "", nil}, 404},
		"unknown id":            {request{"GET", "/fhir/Patient/absent", "", nil}, 404},
		"no version":            {request{"GET", "/fhir/Patient/p/_history/9", "", nil}, 404},
		"version zero":          {request{"GET", "/fhir/Patient/p/_history/0", "", nil}, 404},
		"a version of words":    {request{"GET", "/fhir/Patient/p/_history/one", "", nil}, 404},
		"a version's spelling":  {request{"GET", "/fhir/Patient/p/_history/01", "", nil}, 404},
		"version beyond":        {request{"GET", "/fhir/Patient/p/_history/99999999999999999999", "", nil}, 404},
		"operation, system":     {request{"GET", "/fhir/$foo", "", nil}, 404},
		"operation, escaped":    {request{"GET", "/fhir/%24foo", "", nil}, 404},
		"operation, system, to": {request{"POST", "/fhir/$foo", `{}`, nil}, 404},
		"operation, type":       {request{"GET", "/fhir/Patient/$foo", "", nil}, 404},
		"operation, type, to":   {request{"POST", "/fhir/Patient/$foo", `{}`, nil}, 404},
		"operation, instance":   {request{"POST", "/fhir/Patient/p/$foo", `{}`, nil}, 404},
		"an operation to PUT":   {request{"PUT", "/fhir/Patient/$foo", patient("x", ""), nil}, 404},
		"nowhere":               {request{"GET", "/fhir/Patient/p/x/y", "", nil}, 404},
		"outside":               {request{"GET", "/other", "", nil}, 404},
		"a method":              {request{"POST", "/fhir/Patient/p", `{}`, nil}, 405},
		"a method on a version": {request{"PUT", "/fhir/Patient/p/_history/1", `{}`, nil}, 405},
		"search":                {request{"GET", "/fhir/Patient?name=x", "", nil}, 400},
		"search of all":         {request{"GET", "/fhir/?_type=Patient", "", nil}, 400},
		"search by POST":        {request{"POST", "/fhir/Patient/_search", `a=b`, nil}, 400},
		"search of no type":     {request{"GET", "/fhir/Patent?name=x", "", nil}, 404},
		"history":               {request{"GET", "/fhir/Patient/p/_history", "", nil}, 400},
		"history of a type":     {request{"GET", "/fhir/Patient/_history", "", nil}, 400},
		"conditional create":    {request{"POST", "/fhir/Patient", `{}`, map[string]string{"If-None-Exist": "a=b"}}, 400},
		"conditional update":    {request{"PUT", "/fhir/Patient?a=b", `{}`, nil}, 400},
		"conditional delete":    {request{"DELETE", "/fhir/Patient?a=b", "", nil}, 400},
		"patch":                 {request{"PATCH", "/fhir/Patient/p", `[]`, nil}, 400},
		"a transaction":         {request{"POST", "/fhir", `{"resourceType":"Bundle"}`, nil}, 400},
		"a mode of metadata":    {request{"GET", "/fhir/metadata?mode=terminology", "", nil}, 400},
	} {
		want(t, name, do(e, c.request), c.status)
	}
	if got := do(e, request{"GET", "/fhir/Patient/p", "", nil}).Header().Get("ETag"); got != `W/"1"` {
		t.Errorf("after all this it is at %s", got)
	}
	want(t, "what was refused", do(e, request{"GET", "/fhir/Patient/not-written", "", nil}), 404)
}

func TestAnOperationOfAnotherMethodIsNotAllowed(t *testing.T) {
	e := newServer(t, local)
	ok := func(c echo.Context) error { return c.NoContent(202) }
	e.POST("/fhir/$op", ok)
	e.POST("/fhir/Patient/$op", ok)
	e.GET("/fhir/Patient/$op", ok)
	e.POST("/fhir/:type/:id/$op", ok)
	e.DELETE("/fhir/$op/:job", ok)
	for path, allow := range map[string]string{"/fhir/$op": "POST", "/fhir/%24op": "POST", "/fhir/Patient/$op": "GET, POST", "/fhir/Patient/1/$op": "POST"} {
		want(t, path, do(e, request{"POST", path, "", nil}), 202)
		w := do(e, request{"DELETE", path, "", nil})
		want(t, path, w, 405)
		if got := w.Header().Get("Allow"); got != allow {
			t.Errorf("%s: Allow is %q, want %q", path, got, allow)
		}
	}
	want(t, "a job", do(e, request{"DELETE", "/fhir/$op/1", "", nil}), 202)
	for _, path := range []string{"/fhir/Group/$op", "/fhir/$o", "/fhir/$opx", "/fhir/Patient/$o", "/fhir/Patient/$opx", "/fhir/Patient/1/$opx", "/fhir/Patient/1/2/$op"} {
		want(t, path, do(e, request{"GET", path, "", nil}), 404)
	}
}

func TestMetadataHasAnETagAndNeedsNobody(t *testing.T) {
	e := newServer(t, func(*http.Request) (auth.Principal, error) { return auth.Principal{}, nil })
	w := do(e, request{"GET", "/fhir/metadata", "", nil})
	want(t, "metadata", w, 200)
	tag := w.Header().Get("ETag")
	if !strings.HasPrefix(tag, `W/"`) || !strings.Contains(w.Body.String(), `"CapabilityStatement"`) {
		t.Errorf("%s %.100s", tag, w.Body)
	}
	want(t, "again", do(e, request{"GET", "/fhir/metadata", "", map[string]string{"If-None-Match": tag}}), 304)
	want(t, "by HEAD", do(e, request{"HEAD", "/fhir/metadata", "", nil}), 200)
}

func TestWhoIsNobodyIsAskedToAuthenticate(t *testing.T) {
	e := newServer(t, func(*http.Request) (auth.Principal, error) { return auth.Principal{}, nil })
	for _, q := range []request{
		{"GET", "/fhir/Patient/p", "", nil},
		{"PUT", "/fhir/Patient/p", patient("p", ""), nil},
		{"POST", "/fhir/Patient", patient("p", ""), nil},
		{"DELETE", "/fhir/Patient/p", "", nil},
		{"GET", "/fhir/Patient/p/_history/1", "", nil},
	} {
		w := do(e, q)
		want(t, fmt.Sprint(q), w, 401)
		if w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%v: no challenge", q)
		}
	}
}

func TestAPrincipalThatCannotBeFoundOutRefusesTheRequest(t *testing.T) {
	e := newServer(t, func(*http.Request) (auth.Principal, error) {
		return auth.Local(), fhir.Errorf(fhir.Unauthorized, "the token is not valid")
	})
	want(t, "a bad token", do(e, request{"GET", "/fhir/Patient/1", "", nil}), 401)
	want(t, "what is for everyone", do(e, request{"GET", "/fhir/metadata", "", nil}), 200)
}

// The CapabilityStatement is true: what it lists is there, for each type.
func TestEveryTypeOfTheCapabilityStatementIsServed(t *testing.T) {
	e := newServer(t, local)
	var s struct {
		Rest []struct{ Resource []struct{ Type string } }
	}
	if err := json.Unmarshal(do(e, request{"GET", "/fhir/metadata", "", nil}).Body.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	for _, r := range s.Rest[0].Resource {
		at, body := "/fhir/"+r.Type+"/x", `{"resourceType":"`+r.Type+`","id":"x"}`
		want(t, "create", do(e, request{"POST", "/fhir/" + r.Type, body, nil}), 201)
		want(t, "update", do(e, request{"PUT", at, body, nil}), 201)
		want(t, "read", do(e, request{"GET", at, "", nil}), 200)
		want(t, "vread", do(e, request{"GET", at + "/_history/1", "", nil}), 200)
		want(t, "delete", do(e, request{"DELETE", at, "", nil}), 204)
	}
}
