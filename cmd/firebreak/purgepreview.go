package main

import (
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
)

// previewFlags are those of "firebreak purge" for previews.
type previewFlags struct {
	Preview bool   `help:"Show what would be removed, and remove nothing." xor:"plan"`
	Plan    string `help:"Remove exactly what the preview of this id has shown, or nothing. It is good for an hour." xor:"plan" placeholder:"ID"`
}

// parameters are those of the call.
func (f previewFlags) parameters() []taskParameter {
	switch {
	case f.Preview:
		return []taskParameter{{"_preview", "true"}}
	case f.Plan != "":
		return []taskParameter{{"_plan", f.Plan}}
	}
	return nil
}

func (f previewFlags) what() string {
	if f.Preview {
		return "preview"
	}
	return "purge"
}

// namesShown is how many resources are named of each list.
const namesShown = 10

// reportPreview prints what the Bundle of a preview shows.
func reportPreview(s streams, body []byte) error {
	shown := gjson.GetBytes(body, "entry.0.resource")
	rows := [][]string{{"", "resources", "versions", "bytes", "detached", "dangling"}}
	add := func(name string, row gjson.Result) {
		line := []string{name}
		for _, column := range rows[0][1:] {
			line = append(line, count(row.Get(fmt.Sprintf(`part.#(name==%q).valueInteger`, column)).Int()))
		}
		rows = append(rows, line)
	}
	shown.Get(`parameter.#(name=="type")#`).ForEach(func(_, row gjson.Result) bool {
		add(row.Get(`part.#(name=="type").valueCode`).String(), row)
		return true
	})
	add("in all", shown.Get(`parameter.#(name=="total")`))
	table(s.out, rows)
	for _, list := range []struct{ name, says string }{
		{"mayStillMention", "%s would be detached; its narrative and free text may still mention the patient"},
		{"dangling", "%s would stay as it is, and name what is gone"},
	} {
		ids := shown.Get(fmt.Sprintf(`parameter.#(name==%q)#.valueString`, list.name)).Array()
		for _, id := range ids[:min(len(ids), namesShown)] {
			_, _ = fmt.Fprintf(s.out, list.says+"\n", id)
		}
		if more := len(ids) - namesShown; more > 0 {
			_, _ = fmt.Fprintf(s.out, "… and %d more\n", more)
		}
	}
	shown.Get(`parameter.#(name=="hold")#`).ForEach(func(_, hold gjson.Result) bool {
		_, _ = fmt.Fprintf(s.out, "the legal hold %s is in the way\n", hold.Get(`part.#(name=="id").valueId`))
		return true
	})
	shown.Get(`parameter.#(name=="outcome").resource.issue.#.diagnostics`).ForEach(func(_, text gjson.Result) bool {
		_, _ = fmt.Fprintln(s.out, text.String())
		return true
	})
	if !strings.HasPrefix(gjson.GetBytes(body, "entry.0.response.status").String(), "2") {
		return errNoPreview
	}
	_, _ = fmt.Fprintf(s.out, "to remove exactly this: the same command with --plan %s instead of --preview\n", shown.Get(`parameter.#(name=="plan").valueId`))
	return nil
}
