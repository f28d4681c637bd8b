package detach_test

import (
	"testing"

	"firebreak/fhir/detach"
)

func TestTextThatMayMentionAPersonIsSeen(t *testing.T) {
	for _, body := range []string{
		`{"text":{"status":"generated","div":"<div/>"}}`,
		`{"section":[{"text":{"div":"<div/>"}}]}`,
		`{"contained":[{"text":{"div":"<div/>"}}]}`,
		`{"entry":[{"resource":{"text":{"div":"<div/>"}}}]}`,
		`{"note":[{"text":"she"}]}`,
		`{"activity":[{"progress":[{"text":"she"}]}]}`,
		`{"extension":[{"valueMarkdown":"she"}]}`,
		`{"extension":[{"valueAnnotation":{"text":"she"}}]}`,
		`{"extension":[{"extension":[{"valueString":"she"}]}]}`,
		`{"reaction":[{"description":"she"}]}`,
		`{"participant":[{"comment":"she"}],"comment":"she"}`,
		`{"name":"The account of Ida"}`,
		`{"title":"The list of Ida"}`,
		`{"onsetString":"since she was born"}`,
		`{"payload":[{"contentString":"she"}]}`,
		`{"detail":"she","code":{}}`,
		`{"content":[{"attachment":{"data":"c2hl"}}]}`,
		`{"photo":[{"data":"c2hl"}]}`,
	} {
		if !detach.FreeText([]byte(body)) {
			t.Errorf("%s has text", body)
		}
	}
}

func TestWordsOfCodesAndReferencesAreNoText(t *testing.T) {
	for _, body := range []string{
		``, `{}`, `{"text":{"status":"empty"}}`,
		`{"code":{"coding":[{"display":"Flu"}],"text":"Flu"}}`,
		`{"subject":{"display":"Ida"}}`,
		`{"name":[{"given":["Ida"],"text":"Ida"}]}`,
		`{"activity":[{"detail":{"code":{"text":"walk"}}}],"reason":[{"text":"Flu"}]}`,
		`{"component":[{"valueSampledData":{"data":"1 2"}}]}`,
		`{"photo":[{"url":"Binary/b"}]}`,
		`{"note":null,"comment":null,"title":1}`,
		`{"subject":{` + masked + `}}`,
	} {
		if detach.FreeText([]byte(body)) {
			t.Errorf("%s has no text", body)
		}
	}
}
