package main

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestASignedLinkOpensItsFileAndNothingElse(t *testing.T) {
	g := newGuarded(t, func(o *serving) { o.SignedLinks = time.Hour })
	g.engine()
	mine := g.token("c", everything)
	g.put("/fhir", "Patient", "p", "mine", mine)
	g.put("/fhir", "Organization", "o", "mine too", mine)
	status, m := g.exported("/fhir/$export", mine)
	if m.RequiresAccessToken || len(m.Output) != 2 {
		t.Fatalf("the manifest says that tokens are needed, or has %d files", len(m.Output))
	}
	link, other := m.Output[0].URL, m.Output[1].URL
	if r := g.get(link, ""); r.status != 200 || r.header.Get("ETag") == "" {
		t.Errorf("the link without a token: %d", r.status)
	}
	if r := g.get(link, "", "Range", "bytes=3-5"); r.status != 206 || len(r.body) != 3 {
		t.Errorf("a range of it: %d, %q", r.status, r.body)
	}
	plain, query, _ := strings.Cut(link, "?")
	otherPlain, _, _ := strings.Cut(other, "?")
	values, err := url.ParseQuery(query)
	g.must(err)
	longer := url.Values{"until": {"99999999999"}, "signature": values["signature"]}
	for what, path := range map[string]string{
		"without a signature":                 plain,
		"another file with it":                otherPlain + "?" + query,
		"a later end":                         plain + "?" + longer.Encode(),
		"half the signature":                  plain + "?" + query[:len(query)-10],
		"an end that is past":                 plain + "?until=1&signature=" + values.Get("signature"),
		"the status with it":                  status + "?" + query,
		"a resource with it":                  g.origin + "/fhir/Patient/p?" + query,
		"no end":                              plain + "?signature=" + values.Get("signature"),
		"a tenant's address with the default": strings.Replace(plain, "/fhir/", "/t/a/fhir/", 1) + "?" + query,
	} {
		if r := g.get(path, ""); r.status != 401 && r.status != 404 {
			t.Errorf("%s: %d", what, r.status)
		}
	}
	if r := g.get(plain, mine); r.status != 200 {
		t.Errorf("the owner's own token: %d", r.status)
	}
	g.want("DELETE", g.do(call{method: "DELETE", path: status, token: mine}), 202)
	if r := g.get(link, ""); r.status != 404 {
		t.Errorf("the link of a deleted job: %d", r.status)
	}
}

func TestTheKeyOfLinksOutlivesTheServer(t *testing.T) {
	o := serving{storage: storage{Data: t.TempDir()}, SignedLinks: time.Hour}
	first, err := o.links(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := o.links(t.Context(), nil)
	if err != nil || string(again.Key) != string(first.Key) || len(first.Key) != linkKeySize {
		t.Errorf("the key changed, %v", err)
	}
	o.SignedLinks = 0
	if off, err := o.links(t.Context(), nil); off != nil || err != nil {
		t.Errorf("links that nobody asked for: %v, %v", off, err)
	}
}
