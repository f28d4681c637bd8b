package filestest

import (
	"crypto/rand"
	"errors"
	"sync"

	"firebreak/store/files"
)

func identityCases() []testCase {
	return []testCase{
		{"the id of a place is made once and is the same to all", identityOnce},
		{"those who ask first at once get one id", identityAtOnce},
		{"the id is beside the folders", identityBeside},
		{"what has not the form of a name is no id", identityForm},
	}
}

func (e *env) identity(p files.Place) string {
	e.Helper()
	id, err := p.Identity(e.Context(), rand.Text)
	e.ok(err)
	return id
}

func identityOnce(e *env) {
	first, err := e.Identity(e.Context(), func() string { return "the-first" })
	e.ok(err)
	if first != "the-first" {
		e.Errorf("the id is %q", first)
	}
	for range 2 {
		if got := e.identity(e.another()); got != first {
			e.Errorf("the id is %q, and was %q", got, first)
		}
	}
}

func identityAtOnce(e *env) {
	ids, errs := make([]string, 8), make([]error, 8)
	var all sync.WaitGroup
	for i := range ids {
		p := e.another()
		all.Go(func() { ids[i], errs[i] = p.Identity(e.Context(), rand.Text) })
	}
	all.Wait()
	e.ok(errors.Join(errs...))
	for _, id := range append(ids, e.identity(e.another())) {
		if id != ids[0] {
			e.Errorf("the id is %q to one and %q to another", ids[0], id)
		}
	}
}

func identityBeside(e *env) {
	id := e.identity(e.Place)
	e.wantFolders()
	e.put("job/a", "a")
	e.wantFolders("job")
	e.wantNames("job", "job/a")
	e.ok(e.RemoveFolder(e.Context(), "job"))
	if got := e.identity(e.another()); got != id {
		e.Errorf("the id is %q, and was %q", got, id)
	}
}

func identityForm(e *env) {
	for _, bad := range []string{"", " ", "a b", "../a", ".a", "a\nb"} {
		if id, err := e.Identity(e.Context(), func() string { return bad }); err == nil {
			e.Errorf("%q became the id %q", bad, id)
		}
	}
	if id := e.identity(e.another()); len(id) != len(rand.Text()) {
		e.Errorf("the id is %q", id)
	}
}
