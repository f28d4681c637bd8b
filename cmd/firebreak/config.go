package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// options is the command line. Each option can also be given in the
// environment, as FIREBREAK_ and its name in capitals, and in the file that
// --config names; the command line wins over both, the environment over the
// file. What is about a single client is on the command line only: the tenants
// of a server are not the tenant of a client.
type options struct {
	Config string `help:"YAML file of options by their names, such as 'listen: 127.0.0.1:8080'." type:"path" placeholder:"FILE"`

	Serve   serveCommand   `cmd:"" help:"Serve the FHIR API, from SQLite in the data directory or from MongoDB."`
	Load    loadCommand    `cmd:"" help:"Load ndjson files and Bundles, into a data directory, MongoDB or a server."`
	Export  exportCommand  `cmd:"" help:"Export from any Bulk Data server into a folder, and check what came."`
	Verify  verifyCommand  `cmd:"" help:"Check an exported folder against its manifest, offline."`
	Purge   purgeCommand   `cmd:"" help:"Remove whole records of patients from a server, for good."`
	Client  clientCommand  `cmd:"" help:"Keep the file of clients that come in with header credentials."`
	Hold    holdCommand    `cmd:"" help:"Set, list and lift legal holds, which keep records from purges."`
	Replay  replayCommand  `cmd:"" name:"replay-ledger" help:"Purge again what came back with a restored backup, by the ledger of a server."`
	Demo    demoCommand    `cmd:"" help:"Make patients, load, export and check them, and end."`
	Version versionCommand `cmd:"" help:"Print the version."`

	VerifyPurge verifyPurgeCommand `cmd:"" help:"Verify the certificate of a purge, offline."`
	Keys        keysCommand        `cmd:"" help:"List or rotate the keys that certificates are signed with."`
}

// storage is where the data is.
type storage struct {
	Data  string `help:"Data directory; it is made if it is not there. With --store, the folder of files, the same for all instances." default:"./firebreak-data" type:"path" placeholder:"DIR"`
	Store string `help:"MongoDB replica set to keep resources and jobs in, such as mongodb://HOST:27017/firebreak?replicaSet=rs0, for any number of instances. Without it, SQLite in the data directory, for one." placeholder:"URI"`
	Files string `help:"S3 bucket to keep the files of jobs in, such as s3://BUCKET/PREFIX?region=eu-central-1; credentials as the AWS tools find them. Without it, the data directory." placeholder:"URL"`
}

// serving are the options of a server.
type serving struct {
	storage
	authentication
	encryption
	watching
	ledgering
	Listen            string         `help:"Address to serve on. While there is no authentication, a loopback address only." default:"127.0.0.1:8080" placeholder:"ADDR"`
	PublicBase        string         `help:"FHIR base URL as clients write it, such as https://ehr.example.org/fhir. Without it, the request says." placeholder:"URL"`
	TrustedProxy      []netip.Prefix `help:"Networks whose X-Forwarded-* and Forwarded headers are believed." placeholder:"CIDR"`
	CORSOrigin        []string       `name:"cors-origin" help:"Origins whose pages may use the server from a browser, such as https://app.example.org, or * for any. Without it, none may." placeholder:"ORIGIN"`
	Audit             string         `help:"Whether each kick-off, download, cancel and expiry of a job is recorded as an AuditEvent: ${enum}. What cannot be recorded is not done." enum:"on,off" default:"on"`
	MaxResource       int            `help:"Most bytes of one resource." default:"33554432" placeholder:"BYTES"`
	Workers           int            `help:"Units of work done at once." default:"2" placeholder:"N"`
	ExportLifetime    time.Duration  `help:"How long the files of an export are kept after its end." default:"168h" placeholder:"DURATION"`
	ExportMaxLifetime time.Duration  `help:"The longest that a client may ask its files to be kept, with retain." default:"720h" placeholder:"DURATION"`
	ExportLimit       int            `help:"Exports of one client and user under way at once; 0: any number." default:"4" placeholder:"N"`
	ExportLimitAll    int            `help:"Exports under way at once in all; 0: any number." default:"100" placeholder:"N"`
	PurgeLifetime     time.Duration  `help:"How long what a purge did can be asked for after its end." default:"168h" placeholder:"DURATION"`
	SigningKeys       string         `help:"File with the keys that certificates of purges are signed with; it is made if it is not there. Without it, signing-keys.json in the data directory; with --store, purges have no certificates." type:"path" placeholder:"FILE"`
	AnnouncePurged    bool           `help:"Tell clients whose exports held a record that was purged of the ids that are gone: in deleted of their exports with _since, until the exports that held it would have expired."`
	SignedLinks       time.Duration  `help:"Sign the URLs of files, so that each can be fetched without a token for so long after the manifest was asked for; 0: they need one." default:"0s" placeholder:"DURATION"`
	ExportContext     bool           `help:"Export with patients also the practitioners, organizations, locations, medications and devices that their data refers to, without being asked."`
	ExportFileSize    int64          `help:"Most bytes of one export file, but for a single larger resource." default:"268435456" placeholder:"BYTES"`
	Grace             time.Duration  `help:"How long requests under way may take at shutdown." default:"10s" placeholder:"DURATION"`
	LogLevel          string         `help:"Least level of the log: ${enum}." enum:"debug,info,warn,error" default:"info"`
	LogFormat         string         `help:"Form of the log: ${enum}." enum:"text,json" default:"text"`
}

// errHelp says that help was asked for, and printed.
var errHelp = errors.New("help was printed")

// parse reads the command line, the environment and the file.
func parse(args []string, stdout, stderr io.Writer) (cmd command, err error) {
	var o options
	settings := []kong.Option{
		kong.Name("firebreak"),
		kong.Description("A FHIR R4 server for asynchronous operations on whole patient records.\n\nBegin with 'firebreak demo', or: firebreak load FOLDER; firebreak serve."),
		kong.DefaultEnvars("FIREBREAK"), kong.Writers(stdout, stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.ValueFormatter(withDefault),
		kong.Exit(func(int) { panic(errHelp) }), // kong prints help, then exits
	}
	if file := configFile(args); file != "" {
		if _, err := os.Stat(file); err != nil { //nolint:gosec // the operator names the file
			return nil, fmt.Errorf("read the configuration file: %w", err)
		}
		settings = append(settings, kong.Configuration(yamlOptions, file))
	}
	parser, err := kong.New(&o, settings...)
	if err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p == errHelp { //nolint:errorlint // the very value that was thrown
			cmd, err = nil, errHelp
		} else if p != nil {
			panic(p)
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if err != nil {
		return nil, err
	}
	cmd, ok := k.Selected().Target.Addr().Interface().(command)
	if !ok {
		return nil, fmt.Errorf("%s is not a command", k.Command())
	}
	return cmd, nil
}

// withDefault says in the help of an option what it is if it is not given.
func withDefault(v *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(v)
	if v.HasDefault {
		help += " Default: " + v.Default + "."
	}
	return help
}

// configFile finds --config before the rest is parsed, as its file has a say
// in that.
func configFile(args []string) string {
	for i, a := range args {
		if a == "--config" && i+1 < len(args) {
			return args[i+1]
		}
		if len(a) > len("--config=") && a[:len("--config=")] == "--config=" {
			return a[len("--config="):]
		}
	}
	return os.Getenv("FIREBREAK_CONFIG")
}

// yamlOptions resolves options from a YAML file, by their names.
func yamlOptions(r io.Reader) (kong.Resolver, error) {
	values := map[string]any{}
	if err := yaml.NewDecoder(r).Decode(&values); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the configuration file is not YAML: %w", err)
	}
	return yamlResolver(values), nil
}

// yamlResolver is the file: the values of options by their names.
type yamlResolver map[string]any

// Validate refuses a name that no command has as an option.
func (y yamlResolver) Validate(app *kong.Application) error {
	known := map[string]bool{}
	err := kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			known[flag.Name] = true
		}
		return next(nil)
	})
	for name := range y {
		if !known[name] {
			err = errors.Join(err, fmt.Errorf("the configuration file has %q, which is no option", name))
		}
	}
	return err
}

// Resolve gives an option its value.
func (y yamlResolver) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	v, ok := y[flag.Name]
	// kong would let what is resolved here win over the environment.
	if ok && len(flag.Envs) > 0 && !slices.ContainsFunc(flag.Envs, func(name string) bool { return os.Getenv(name) != "" }) {
		return v, nil
	}
	return nil, nil //nolint:nilnil // kong's word for "not here"
}

// clientSecretVariable is the one place for a client's secret beside a file.
// There is no option for it: others on the machine see the command line.
const clientSecretVariable = "FIREBREAK_CLIENT_SECRET"

func clientSecret() string { return strings.TrimSpace(os.Getenv(clientSecretVariable)) }
