package main_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const (
	module = "firebreak"
	echo   = "github.com/labstack/echo"
	all    = "*"

	// environment is the one file of the program that may read the environment.
	environment = "cmd/firebreak/config.go"
)

// row says which of our packages the packages of a pattern may import. The
// first row that matches a package is the one that holds for it.
type row struct {
	pattern string
	may     []string
	echo    bool // whether it may know Echo
	tests   bool // whether it is for tests only, which are told their servers by the environment
}

// table is who may import whom. A new edge is a design decision: it is made
// here, in review, and a package without a row is refused.
func table() []row {
	list := strings.Fields
	const operation = "fhir fhir/r4 fhir/search fhir/selection operations/job store store/files auth"
	return []row{
		{pattern: "fhir"},
		{pattern: "fhir/r4", may: list("fhir")},
		{pattern: "fhir/r4/generate"}, // a program that writes the tables; nothing runs it but go generate
		{pattern: "fhir/search", may: list("fhir fhir/r4")},
		{pattern: "fhir/selection", may: list("fhir fhir/r4 fhir/search store auth")},
		{pattern: "fhir/detach", may: list("fhir fhir/r4 fhir/search")},
		{pattern: "fhir/interaction", may: list("fhir fhir/r4 fhir/search fhir/selection store auth")},
		{pattern: "fhir/fhirhttp", may: list("fhir"), echo: true},
		{pattern: "fhir/rest", may: list("fhir fhir/fhirhttp fhir/interaction auth"), echo: true},
		{pattern: "fhir/sample", may: list("fhir")},

		{pattern: "auth", may: list("fhir fhir/search")},
		{pattern: "auth/authtest", may: list("auth fhir fhir/search")},

		{pattern: "store", may: list("fhir fhir/search operations/job")},
		{pattern: "store/sqlite", may: list("store fhir fhir/search operations/job")},
		{pattern: "store/mongo", may: list("store fhir fhir/search operations/job")},
		{pattern: "store/mongo/mongotest", tests: true},
		{pattern: "store/storetest", may: list("store fhir fhir/r4 fhir/search operations/job")},
		{pattern: "store/files", may: list("store")},
		{pattern: "store/files/filestest", may: list("store/files"), tests: true},

		{pattern: "operations/job", may: list("fhir")},
		{pattern: "operations/engine", may: list("operations/job store")},
		{pattern: "operations/opshttp", may: list("fhir fhir/fhirhttp operations/job store store/files auth"), echo: true},
		{pattern: "operations/fetch", may: list("fhir")},
		{pattern: "operations/ingest", may: list(operation + " fhir/interaction")},
		{pattern: "operations/consolidated", may: list(operation + " fhir/interaction")},
		{pattern: "operations/ledger", may: list("fhir store")},
		{pattern: "operations/purge", may: list(operation + " fhir/detach")},
		{pattern: "operations/certificate", may: list("operations/job store")},
		{pattern: "operations/*", may: list(operation)},

		{pattern: "cmd/*", may: list(all), echo: true},
	}
}

func TestPackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	found, err := violations(os.DirFS(moduleRoot(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
}

// moduleRoot is the nearest folder upwards that has a go.mod.
func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod in any folder above")
		}
		dir = filepath.Dir(dir)
	}
}

// violations reads every Go file of a module, tests aside, and says which do
// what the table does not allow. Files are parsed here and not listed by a
// child "go list", so that the test cache knows what the result stands on.
func violations(tree fs.FS) ([]string, error) {
	var found []string
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(tree, name):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parse(tree, name)
		if err == nil {
			found = append(found, check(name, file)...)
		}
		return err
	})
	return found, err
}

// skipped tells which folders hold no packages of the module.
func skipped(tree fs.FS, dir string) bool {
	if dir == "." {
		return false
	}
	base := path.Base(dir)
	_, err := fs.Stat(tree, path.Join(dir, "go.mod"))
	return base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_' || err == nil
}

// parse reads the imports of a file, and the whole of it only if it might read
// the environment.
func parse(tree fs.FS, name string) (*ast.File, error) {
	source, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
	if err != nil || !slices.ContainsFunc(file.Imports, readsEnvironment) {
		return file, err
	}
	return parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution)
}

// check holds one file against the row of its package.
func check(name string, file *ast.File) []string {
	pkg := path.Dir(name)
	i := slices.IndexFunc(table(), func(r row) bool { return r.matches(pkg) })
	if i < 0 {
		return []string{fmt.Sprintf("%s: package %s stands in no row of the table", name, pkg)}
	}
	var found []string
	for _, spec := range file.Imports {
		if imported := importPath(spec); !table()[i].allows(pkg, imported) {
			found = append(found, fmt.Sprintf("%s: package %s may not import %s", name, pkg, imported))
		}
	}
	if name != environment && !table()[i].tests {
		for _, call := range environmentReads(file) {
			found = append(found, fmt.Sprintf("%s: %s is for %s only", name, call, environment))
		}
	}
	return found
}

func (r row) matches(pkg string) bool {
	ok, err := path.Match(r.pattern, pkg)
	return ok && err == nil
}

func (r row) allows(pkg, imported string) bool {
	ours, isOurs := strings.CutPrefix(imported, module+"/")
	switch {
	case imported == echo || strings.HasPrefix(imported, echo+"/"):
		return r.echo
	case imported == module:
		return false
	case !isOurs:
		return true
	case ours == "store/mongo/mongotest":
		return false
	case ours == "fhir/sample" || strings.HasPrefix(ours, "cmd/"):
		return slices.Contains(r.may, all) && pkg != ours
	}
	return slices.Contains(r.may, all) || slices.Contains(r.may, ours)
}

func importPath(spec *ast.ImportSpec) string {
	imported, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value // the parser lets none through
	}
	return imported
}

func readsEnvironment(spec *ast.ImportSpec) bool {
	imported := importPath(spec)
	return imported == "os" || imported == "syscall"
}

// environmentReads lists the uses of os.Getenv and its siblings, whatever name
// the package was imported by.
func environmentReads(file *ast.File) []string {
	names := map[string]string{}
	var found []string
	for _, spec := range file.Imports {
		switch imported := importPath(spec); {
		case !readsEnvironment(spec):
		case spec.Name == nil:
			names[imported] = imported
		case spec.Name.Name == ".":
			found = append(found, "a dot import of "+imported)
		default:
			names[spec.Name.Name] = imported
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			x, _ := s.X.(*ast.Ident)
			if x != nil && names[x.Name] != "" && slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, s.Sel.Name) {
				found = append(found, names[x.Name]+"."+s.Sel.Name)
			}
		}
		return true
	})
	return found
}

func TestForbiddenEdgesAreRefused(t *testing.T) {
	tests := map[string]struct{ file, source, want string }{
		"upwards":                     {"fhir/a.go", `import "firebreak/store"`, "package fhir may not import firebreak/store"},
		"a sibling store":             {"store/mongo/a.go", `import "firebreak/store/sqlite"`, "package store/mongo may not import firebreak/store/sqlite"},
		"another operation":           {"operations/export/a.go", `import "firebreak/operations/purge"`, "package operations/export may not import firebreak/operations/purge"},
		"the engine":                  {"operations/purge/a.go", `import "firebreak/operations/engine"`, "package operations/purge may not import firebreak/operations/engine"},
		"interaction, but for import": {"operations/export/a.go", `import "firebreak/fhir/interaction"`, "package operations/export may not import firebreak/fhir/interaction"},
		"samples outside commands":    {"fhir/rest/a.go", `import "firebreak/fhir/sample"`, "package fhir/rest may not import firebreak/fhir/sample"},
		"a command":                   {"store/a.go", `import "firebreak/cmd/firebreak"`, "package store may not import firebreak/cmd/firebreak"},
		"Echo below HTTP":             {"fhir/interaction/a.go", `import "github.com/labstack/echo/v4"`, "package fhir/interaction may not import github.com/labstack/echo/v4"},
		"Echo's middleware":           {"operations/engine/a.go", `import _ "github.com/labstack/echo/v4/middleware"`, "package operations/engine may not import github.com/labstack/echo/v4/middleware"},
		"a package of no row":         {"util/a.go", ``, "package util stands in no row of the table"},
		"a package below a row":       {"fhir/search/deep/a.go", ``, "package fhir/search/deep stands in no row of the table"},
		"a package at the top":        {"a.go", ``, "package . stands in no row of the table"},
		"a store's test engine":       {"store/mongo/a.go", `import "firebreak/store/mongo/mongotest"`, "package store/mongo may not import firebreak/store/mongo/mongotest"},
		"a command's test engine":     {"cmd/firebreak/a.go", `import "firebreak/store/mongo/mongotest"`, "package cmd/firebreak may not import firebreak/store/mongo/mongotest"},
		"the environment":             {"auth/a.go", "import \"os\"\nvar x = os.Getenv(\"X\")", "os.Getenv is for cmd/firebreak/config.go only"},
		"the environment, renamed":    {"cmd/firebreak/main.go", "import env \"os\"\nvar _, x = env.LookupEnv(\"X\")", "os.LookupEnv is for cmd/firebreak/config.go only"},
		"the environment as a value":  {"cmd/firebreak/main.go", "import \"os\"\nvar f = os.Environ", "os.Environ is for cmd/firebreak/config.go only"},
		"the environment by syscall":  {"auth/a.go", "import \"syscall\"\nvar x, _ = syscall.Getenv(\"X\")", "syscall.Getenv is for cmd/firebreak/config.go only"},
		"the environment, by a dot":   {"auth/a.go", "import . \"os\"\nvar x = Getenv(\"X\")", "a dot import of os is for cmd/firebreak/config.go only"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tree := fstest.MapFS{tt.file: {Data: []byte("package p\n" + tt.source)}}
			found, err := violations(tree)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{tt.file + ": " + tt.want}, found); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAllowedEdgesPass(t *testing.T) {
	const forbidden = "package p\nimport \"firebreak/store\""
	tree := fstest.MapFS{
		"fhir/a_test.go":               {Data: []byte(forbidden)},
		"fhir/testdata/a.go":           {Data: []byte(forbidden)},
		".tools/a.go":                  {Data: []byte(forbidden)},
		"fhir/other/go.mod":            {},
		"fhir/other/a.go":              {Data: []byte(forbidden)},
		"operations/new/a.go":          {Data: []byte("package p\nimport \"firebreak/fhir/selection\"")},
		"operations/ingest/a.go":       {Data: []byte("package p\nimport \"firebreak/fhir/interaction\"")},
		"operations/opshttp/a.go":      {Data: []byte("package p\nimport \"github.com/labstack/echo/v4\"")},
		"cmd/firebreak/a.go":           {Data: []byte("package p\nimport (\n\"firebreak/fhir/sample\"\n\"firebreak/store/mongo\"\n)")},
		"cmd/firebreak/config.go":      {Data: []byte("package p\nimport \"os\"\nvar x = os.Getenv(\"X\")")},
		"store/mongo/mongotest/a.go":   {Data: []byte("package p\nimport \"os\"\nvar x = os.Getenv(\"X\")")},
		"store/mongo/standin/go.mod":   {},
		"store/mongo/standin/main.go":  {Data: []byte("package main\nimport \"os\"\nvar x = os.Getenv(\"X\")")},
		"store/files/a.go":             {Data: []byte("package p\nimport \"os\"\nvar f, err = os.Open(\"x\")")},
		"operations/engine/engine.go":  {Data: []byte("package p\nimport (\n\"firebreak/operations/job\"\n\"firebreak/store\"\n)")},
		"fhir/fhirhttp/fhirhttp.go":    {Data: []byte("package p\nimport \"firebreak/fhir\"")},
		"fhir/r4/generate/generate.go": {Data: []byte("package main")},
	}
	found, err := violations(tree)
	if err != nil || len(found) > 0 {
		t.Errorf("violations are %q, %v; want none", found, err)
	}
}

func TestAFileThatDoesNotParseIsAnError(t *testing.T) {
	_, err := violations(fstest.MapFS{"fhir/a.go": {Data: []byte("pack age")}})
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}
