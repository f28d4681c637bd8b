package fhir_test

import (
	"errors"
	"strings"
	"testing"

	"firebreak/fhir"
)

func known(typ string) bool { return typ == "Patient" || typ == "Observation" }

func reader() fhir.Reader { return fhir.Reader{Known: known, MaxBytes: 1 << 20} }

func TestReadKeepsEveryTokenButServerMeta(t *testing.T) {
	for name, c := range map[string]struct{ in, body, shown string }{
		"white space goes, order and decimals stay": {
			"{ \"resourceType\" : \"Patient\",\n\t\"id\":\"1\", \"_birthDate\": {\"extension\":[]}, \"x\": 1.50E+2 , \"s\":\"a \\u00e9 \\/ b\"}",
			`{"resourceType":"Patient","id":"1","_birthDate":{"extension":[]},"x":1.50E+2,"s":"a \u00e9 \/ b"}`,
			`{"resourceType":"Patient","id":"1","meta":{"versionId":"3","lastUpdated":"1970-01-01T00:00:00.007Z"},"_birthDate":{"extension":[]},"x":1.50E+2,"s":"a \u00e9 \/ b"}`,
		},
		"meta of the server only": {
			`{"resourceType":"Patient","id":"1","meta":{"versionId":"9","lastUpdated":"2020-01-01T00:00:00Z"},"active":true}`,
			`{"resourceType":"Patient","id":"1","active":true}`,
			`{"resourceType":"Patient","id":"1","meta":{"versionId":"3","lastUpdated":"1970-01-01T00:00:00.007Z"},"active":true}`,
		},
		"meta with a profile between": {
			`{"resourceType":"Patient","meta":{"versionId":"9","profile":["p"],"lastUpdated":"2020-01-01T00:00:00Z"},"id":"1"}`,
			`{"resourceType":"Patient","meta":{"profile":["p"]},"id":"1"}`,
			`{"resourceType":"Patient","meta":{"versionId":"3","lastUpdated":"1970-01-01T00:00:00.007Z","profile":["p"]},"id":"1"}`,
		},
		"meta last and empty": {
			`{"resourceType":"Patient","id":"1","meta":{}}`,
			`{"resourceType":"Patient","id":"1"}`,
			`{"resourceType":"Patient","id":"1","meta":{"versionId":"3","lastUpdated":"1970-01-01T00:00:00.007Z"}}`,
		},
		"meta first": {
			`{"meta":{"lastUpdated":"2020-01-01T00:00:00Z","tag":[{"code":"x"}]},"resourceType":"Patient","id":"1"}`,
			`{"meta":{"tag":[{"code":"x"}]},"resourceType":"Patient","id":"1"}`,
			`{"meta":{"versionId":"3","lastUpdated":"1970-01-01T00:00:00.007Z","tag":[{"code":"x"}]},"resourceType":"Patient","id":"1"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := reader().Read([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if r.ID != (fhir.ID{Type: "Patient", ID: "1"}) || string(r.Body) != c.body {
				t.Errorf("%v %s", r.ID, r.Body)
			}
			if got := string(fhir.AppendShown(nil, r.Body, r.MetaAt, 3, 7)); got != c.shown {
				t.Errorf("shown\n got %s\nwant %s", got, c.shown)
			}
			again, err := reader().Read(fhir.AppendShown(nil, r.Body, r.MetaAt, 3, 7))
			if err != nil || string(again.Body) != c.body {
				t.Errorf("read again: %v %s", err, again.Body)
			}
		})
	}
}

func TestWithIDSetsOrReplacesTheID(t *testing.T) {
	for in, want := range map[string]string{
		`{"resourceType":"Patient","active":true}`:       `{"resourceType":"Patient","id":"b","active":true}`,
		`{"resourceType":"Patient"}`:                     `{"resourceType":"Patient","id":"b"}`,
		`{"id":"a","resourceType":"Patient"}`:            `{"id":"b","resourceType":"Patient"}`,
		`{"active":true,"resourceType":"Patient"}`:       `{"active":true,"resourceType":"Patient","id":"b"}`,
		`{"resourceType":"Patient","meta":{"tag":[{}]}}`: `{"resourceType":"Patient","id":"b","meta":{"tag":[{}]}}`,
	} {
		r, err := reader().Read([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		got := r.WithID("b")
		if string(got.Body) != want || got.ID.ID != "b" {
			t.Errorf("got %s, want %s", got.Body, want)
		}
		direct, err := reader().Read([]byte(want))
		if err != nil || direct.MetaAt != got.MetaAt {
			t.Errorf("MetaAt %d, read anew %d, %v", got.MetaAt, direct.MetaAt, err)
		}
	}
}

func TestReadRefusesAndSaysWhere(t *testing.T) {
	deep := strings.Repeat("[", 101) + strings.Repeat("]", 101)
	for name, c := range map[string]struct {
		in, where, says string
	}{
		"not JSON":          {`{"resourceType":"Patient",`, "", "malformed JSON at line 1, column"},
		"second line":       {"{\"resourceType\":\"Patient\",\n\"name\":[{\"given\":[x]}]}", "name[0].given[0]", "line 2, column"},
		"duplicate":         {`{"resourceType":"Patient","id":"1","id":"2"}`, "id", "occurs twice"},
		"duplicate inside":  {`{"resourceType":"Patient","a":[{"b":1,"b":2}]}`, "a[0].b", "occurs twice"},
		"secret name":       {`{"resourceType":"Patient","John Doe":1,"John Doe":2}`, "", "occurs twice"},
		"bad UTF-8":         {"{\"resourceType\":\"Patient\",\"a\":\"\xff\"}", "a", "malformed"},
		"raw NUL":           {"{\"resourceType\":\"Patient\",\"a\":\"\x00\"}", "a", "malformed"},
		"escaped NUL":       {`{"resourceType":"Patient","a":"x\u0000"}`, "", "NUL"},
		"escaped name":      {`{"resourceType":"Patient","\u0069d":"1"}`, "", "escape"},
		"escape ends name":  {`{"resourceType":"Patient","x":{"a\\":"1"}}`, "", "escape"},
		"too deep":          {`{"resourceType":"Patient","a":` + deep + `}`, "", "nest over 100"},
		"trailing":          {`{"resourceType":"Patient"}x`, "", "malformed"},
		"two of them":       {`{"resourceType":"Patient"}{}`, "", "malformed"},
		"array":             {`[]`, "", "one JSON object"},
		"empty":             {``, "", "malformed"},
		"no type":           {`{"id":"1"}`, "resourceType", "missing"},
		"type not a string": {`{"resourceType":5}`, "resourceType", "not a string"},
		"unknown type":      {`{"resourceType":"Patent"}`, "resourceType", "not a resource type"},
		"id not a string":   {`{"resourceType":"Patient","id":1}`, "id", "not a string"},
		"id empty":          {`{"resourceType":"Patient","id":""}`, "Patient.id", "1 to 64"},
		"id with path":      {`{"resourceType":"Patient","id":"../1"}`, "Patient.id", "1 to 64"},
		"id too long":       {`{"resourceType":"Patient","id":"` + strings.Repeat("a", 65) + `"}`, "Patient.id", "1 to 64"},
		"meta not object":   {`{"resourceType":"Patient","id":"1","meta":[]}`, "meta", "not an object"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := reader().Read([]byte(c.in))
			e := (*fhir.Error)(nil)
			if !errors.As(err, &e) || e.Kind != fhir.Invalid {
				t.Fatalf("got %v", err)
			}
			if e.Expression != c.where || !strings.Contains(e.Message, c.says) {
				t.Errorf("says %q at %q", e.Message, e.Expression)
			}
			if strings.Contains(err.Error(), "John") {
				t.Error("repeats what was sent")
			}
		})
	}
}

func TestReadRefusesWhatIsTooLarge(t *testing.T) {
	r := fhir.Reader{Known: known, MaxBytes: 30}
	if _, err := r.Read([]byte(`{"resourceType":"Patient","id":"1"}`)); fhir.KindOf(err) != fhir.TooLarge {
		t.Errorf("got %v", err)
	}
}

func TestTheZeroReaderRefusesEverything(t *testing.T) {
	if _, err := (fhir.Reader{}).Read([]byte(`{"resourceType":"Patient"}`)); err == nil {
		t.Error("accepted")
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"resourceType":"Patient","id":"1","meta":{"versionId":"1","tag":[{"a":"\"\\"}]},"x":[1,{"y":null}]}`)
	f.Add(`{"resourceType":"Patient","meta":{"lastUpdated":"x","versionId":{}}}`)
	f.Fuzz(func(t *testing.T, in string) {
		r, err := reader().Read([]byte(in))
		if err != nil {
			return
		}
		if r.ID.ID == "" {
			r = r.WithID("fuzz")
		}
		shown := fhir.AppendShown(nil, r.Body, r.MetaAt, 1, 2)
		again, err := reader().Read(shown)
		if err != nil || string(again.Body) != string(r.Body) || again.MetaAt != r.MetaAt {
			t.Fatalf("%v\n%s\n%s\n%s", err, r.Body, shown, again.Body)
		}
	})
}

func BenchmarkRead(b *testing.B) {
	in := []byte(`{"resourceType":"Observation","id":"8c2f1b0e-5a6d-4f0b-9c3e-0d5b1a2c3d4e","status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs","display":"vital-signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"8302-2","display":"Body Height"}],"text":"Body Height"},"subject":{"reference":"Patient/8c2f1b0e-5a6d-4f0b-9c3e-0d5b1a2c3d4e"},"encounter":{"reference":"Encounter/8c2f1b0e-5a6d-4f0b-9c3e-0d5b1a2c3d4e"},"effectiveDateTime":"2010-04-04T03:48:07-04:00","issued":"2010-04-04T03:48:07.123-04:00","valueQuantity":{"value":170.59813079000001,"unit":"cm","system":"http://unitsofmeasure.org","code":"cm"}}`)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := reader().Read(in); err != nil {
			b.Fatal(err)
		}
	}
}
