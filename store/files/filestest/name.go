package filestest

import (
	"errors"
	"strings"

	"firebreak/store/files"
)

func nameCases() []testCase {
	return []testCase{
		{"names that could lead elsewhere are refused", badNames},
		{"names of letters, digits and three marks are taken", goodNames},
	}
}

// bad are names that no method takes, of folders and of files.
func bad() (folders, names []string) {
	folders = []string{
		"", ".", "..", ".a", "a.", "a..", "...", "a b", "a/b", "/", "a/", "/a", "../a", `a\b`, "a\x00", "a\nb", "a:b", "a~", "*", "%2e%2e", "é", "\xff",
		"a.begun", ".begun", ".instance-id", strings.Repeat("a", 201),
	}
	names = []string{
		"", "/", "a", "job", "/job/a", "job//a", "job/./a", "job/../a", "../beside", "../files/job/a", "job/a/", "/etc/passwd", "job/../../beside", "job/a/b",
		".instance-id",
	}
	for _, f := range folders {
		names = append(names, "job/"+f, f+"/a")
	}
	return folders, names
}

func badNames(e *env) {
	e.put("job/a", "content")
	folders, names := bad()
	for _, name := range names {
		if w, err := e.Create(e.Context(), name); err == nil {
			e.Errorf("Create of %q is not refused", name)
			w.Abort()
		}
		if f, err := e.Open(e.Context(), name); err == nil || errors.Is(err, files.ErrNotFound) {
			e.Errorf("Open of %q is not refused: %v", name, err)
			if err == nil {
				e.ok(f.Close())
			}
		}
		if err := e.Remove(e.Context(), name); err == nil {
			e.Errorf("Remove of %q is not refused", name)
		}
	}
	for _, f := range folders {
		if err := e.RemoveFolder(e.Context(), f); err == nil {
			e.Errorf("RemoveFolder of %q is not refused", f)
		}
		if got, err := e.Names(e.Context(), f); err == nil {
			e.Errorf("Names of %q is not refused: %q", f, got)
		}
	}
	e.wantFolders("job")
	e.wantNames("job", "job/a")
	e.want("job/a", "content")
}

func goodNames(e *env) {
	for _, name := range []string{
		"01JD0000000000000000000000/1-scan-000001.2.Patient.1.ndjson", "a/b", "A-z_0.9/x..y", "a/-", "_/_", "a/begun", "__0x2f__/a__0x2f__b",
		"f/" + strings.Repeat("a", 200), strings.Repeat("b", 200) + "/a",
	} {
		folder, _, _ := strings.Cut(name, "/")
		e.ok(e.RemoveFolder(e.Context(), folder))
		e.put(name, name)
		e.want(name, name)
		e.wantNames(folder, name)
		e.ok(e.Remove(e.Context(), name))
		e.wantAbsent(name)
		e.put(name, name)
		e.ok(e.RemoveFolder(e.Context(), folder))
		e.wantAbsent(name)
	}
}
