package filestest

import "firebreak/store/files"

func removeCases() []testCase {
	return []testCase{
		{"Remove of what is not there is no error", removeAbsent},
		{"Remove goes on after an error", removeGoesOn},
		{"Remove removes begun files too", removeBegun},
		{"RemoveFolder removes begun files too", removeFolder},
		{"Commit into a folder that was removed is an error or brings it back", commitIntoRemoved},
		{"a folder is removed and not those whose names begin like its name", removeFolderOnly},
		{"Folders and Names list each once", lists},
	}
}

func removeAbsent(e *env) {
	e.put("job/a", "a")
	e.put("job/b", "b")
	for range 2 {
		e.ok(e.Remove(e.Context(), "job/a", "job/absent", "absent/a"))
		e.wantAbsent("job/a")
		e.want("job/b", "b")
	}
	e.ok(e.Remove(e.Context()))
	e.ok(e.RemoveFolder(e.Context(), "never-there"))
	e.wantFolders("job")
}

func removeGoesOn(e *env) {
	e.put("job/a", "a")
	if err := e.Remove(e.Context(), "../x", "job/a"); err == nil {
		e.Error("a bad name is no error")
	}
	e.wantAbsent("job/a")
}

// begunTwo begins a file of a few bytes and one of many. The writers are left
// as a process that died leaves them, until the case is over.
func begunTwo(e *env, small, many string) files.Writer {
	e.Cleanup(e.begin(small, "a few bytes").Abort)
	w := e.begin(many, large())
	e.Cleanup(w.Abort)
	return w
}

func removeBegun(e *env) {
	begunTwo(e, "job/small", "job/large")
	kept := begunTwo(e, "job/small.kept", "job/large.kept")
	e.put("job/a", "a")
	remove := func() error { return e.another().Remove(e.Context(), "job/small", "job/large", "job/small.kept") }
	e.until("job", remove, "job/a", "job/large.kept")
	e.wantAbsent("job/small", "job/large", "job/small.kept", "job/large.kept")
	e.ok(kept.Commit())
	e.want("job/large.kept", large())
}

func removeFolder(e *env) {
	begunTwo(e, "job/small", "job/large")
	e.put("job/a", "a")
	e.put("other/a", "other")
	remove := func() error { return e.another().RemoveFolder(e.Context(), "job") }
	e.until("job", remove)
	e.ok(remove())
	e.wantFolders("other")
	e.wantAbsent("job/a", "job/small", "job/large")
	e.want("other/a", "other")
}

func commitIntoRemoved(e *env) {
	whole := map[string]string{"job/small": "a few bytes", "job/large": large()}
	writers := map[string]files.Writer{}
	for name, content := range whole {
		writers[name] = e.begin(name, content)
	}
	e.ok(e.RemoveFolder(e.Context(), "job"))
	for name, w := range writers {
		if err := w.Commit(); err == nil {
			e.want(name, whole[name])
		} else {
			e.wantAbsent(name)
		}
		w.Abort()
	}
}

func removeFolderOnly(e *env) {
	for _, name := range []string{"a.job/1", "a.job/2", "a.jobs/1", "a.job.b/1", "a/1"} {
		e.put(name, name)
	}
	e.wantNames("a.job", "a.job/1", "a.job/2")
	e.ok(e.RemoveFolder(e.Context(), "a.job"))
	for _, name := range []string{"a.jobs/1", "a.job.b/1", "a/1"} {
		e.want(name, name)
	}
	e.wantFolders("a", "a.job.b", "a.jobs")
}

func lists(e *env) {
	e.wantFolders()
	e.wantNames("absent")
	e.put("job/a", "a")
	e.put("job/a.b", "a.b")
	e.put("begun/small", "old")
	begunTwo(e, "begun/small", "begun/large")
	begunTwo(e, "job/a.b", "job/a")
	begunTwo(e, "other/small", "new/large")
	e.ok(e.another().Remove(e.Context(), "other/small"))
	e.put("other/a", "a")
	e.wantNames("job", "job/a", "job/a.b")
	e.wantNames("begun", "begun/large", "begun/small")
	e.wantNames("new", "new/large")
	e.wantFolders("begun", "job", "new", "other")
}
