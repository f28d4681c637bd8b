# Every target has a line of help behind "##"; "make" alone prints them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GOLANGCI_VERSION := v2.15.0
GOFUMPT_VERSION  := v0.12.0
GOLANGCI     := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
GOFUMPT      := mvdan.cc/gofumpt@$(GOFUMPT_VERSION)
GOLANGCI_BIN := $(CURDIR)/.tools/$(GOLANGCI_VERSION)/golangci-lint
GOFUMPT_BIN  := $(CURDIR)/.tools/$(GOFUMPT_VERSION)/gofumpt

# The S3 server of the tests of buckets.
VERSITYGW_VERSION := v1.8.0
VERSITYGW_BIN     := $(CURDIR)/.tools/$(VERSITYGW_VERSION)/versitygw

# The packages where goroutines meet; what takes longest first, as two run at a time.
RACE     ?= ./cmd/firebreak ./store/... ./operations/...

# Whole servers that are killed, purged or restored run without the race detector
# alone, as that takes many minutes with it. The tests of operations and
# storetest go through the same code.
NOT_RACED ?= APurge|Purged|NothingIsLeft|AnyKindOfPlace|TenThousand|OfThousands|AReplay|NotComeBack|Kill|Survives
FUZZTIME ?= 20s
DATA     ?=
STORE    ?=

# The program that starts MongoDBs for tests where nothing better is there.
STANDIN := $(CURDIR)/store/mongo/standin/mongodb

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the commands into bin/
	go build -trimpath -o bin/ ./cmd/...

.PHONY: run
run: build ## serve on a loopback address, with data in firebreak-data/
	bin/firebreak serve

.PHONY: demo
demo: build ## make sample patients, load them, export a group, check every file; on MongoDB with STORE=URI
	bin/firebreak demo $(if $(STORE),--store '$(STORE)')

# Where CI is set, a test that finds no MongoDB, or no curl, fails. These two may
# skip the first by name, because test-engines does not; curl is looked for here.
.PHONY: test
test: ## run all tests, but those that need real servers
	@if ! command -v curl >/dev/null; then \
	  echo "test: SKIPPED, the tests named Curl of ./cmd/firebreak: there is no curl on the path"; \
	  [ -z "$${CI:-}" ] || exit 1; \
	fi
	CI= go test -parallel 4 -timeout 20m ./...

.PHONY: race
race: ## run the tests of RACE= under the race detector (needs a C compiler)
	CI= CGO_ENABLED=1 go test -race -timeout 20m -skip '$(NOT_RACED)' $(RACE)

.PHONY: test-engines
test-engines: test-openid test-s3 test-mongodb ## run the tests that need real servers

.PHONY: test-openid
test-openid: ## run the tests with a real OpenID provider (needs node, npm and its registry)
	FIREBREAK_TEST_OIDC=1 go test -count=1 ./auth/...

.PHONY: test-s3
test-s3: $(VERSITYGW_BIN) ## run the tests with a real S3 server, installed into .tools/ if missing
	FIREBREAK_TEST_S3GW=$(VERSITYGW_BIN) go test -count=1 ./store/files/...
	FIREBREAK_TEST_S3GW=$(VERSITYGW_BIN) go test -count=1 -run OnS3 ./cmd/firebreak

# A mongod on the path or a program in FIREBREAK_TEST_MONGODB_CTL serves every
# test; what FIREBREAK_TEST_MONGODB_URI names serves those that kill nothing.
# Both parts wait most of the time, for servers that are gone, so they run at once.
.PHONY: test-mongodb
test-mongodb: ## run the tests with a MongoDB (needs a mongod on the path, or root on a Debian for the stand-in)
	@if command -v mongod >/dev/null || [ -n "$${FIREBREAK_TEST_MONGODB_CTL:-}" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  $(STANDIN) install; export FIREBREAK_TEST_MONGODB_CTL=$(STANDIN); \
	elif [ -z "$${FIREBREAK_TEST_MONGODB_URI:-}" ]; then \
	  echo "test-mongodb: SKIPPED, ./store/mongo/... and the tests named Mongo of ./cmd: there is no mongod" \
	    "on the path, no FIREBREAK_TEST_MONGODB_CTL or FIREBREAK_TEST_MONGODB_URI, and the stand-in needs root and apt-get"; \
	  [ -z "$${CI:-}" ] || exit 1; exit 0; \
	fi; \
	set -x; \
	go test -count=1 -parallel 4 -timeout 20m -run Mongo ./cmd/... & other=$$!; \
	go test -count=1 -parallel 6 -timeout 20m ./store/mongo/... || { wait $$other; exit 1; }; \
	wait $$other

.PHONY: test-standin
test-standin: ## run the tests of the stand-in for MongoDB itself (needs root on a Debian)
	cd $(dir $(STANDIN)) && go mod tidy -diff && go vet ./... && go test -count=1 ./...

# Of the purges that are killed, several go on at once: they wait most of the time.
.PHONY: torture
torture: ## kill and cut the power at every call in turn (about an hour on 2 cores; much longer with FIREBREAK_TEST_MONGODB_CTL)
	FIREBREAK_TORTURE=1 go test -count=1 -parallel 4 -run 'Kill|PowerCut' -timeout 180m ./cmd/firebreak ./store/...

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME=20s
	@packages=$$(go list ./...); for pkg in $$packages; do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

.PHONY: bench
bench: build ## measure, over the ndjson files of the folder DATA=
	@if [ -z "$(DATA)" ]; then echo "say which folder of .ndjson files: make bench DATA=FOLDER"; exit 2; fi
	bin/firebreak-bench $(DATA)

.PHONY: lint
lint: $(GOLANGCI_BIN) ## run golangci-lint, installed into .tools/ if missing
	$(GOLANGCI_BIN) run ./...

.PHONY: fmt
fmt: $(GOFUMPT_BIN) ## format all Go files, with gofumpt installed into .tools/ if missing
	git ls-files -co --exclude-standard '*.go' | xargs -r $(GOFUMPT_BIN) -l -w

# Many tests wait most of the time, for jobs that begin anew or processes that
# start, so the race run goes on beside them. Those with a MongoDB have the cores
# but for what is short.
.PHONY: check
check: tidy vet ## everything a change has to pass: these, test, test-engines, race, lint and demo
	$(MAKE) -j2 --output-sync=target test race
	$(MAKE) -j2 --output-sync=target test-mongodb short
	$(MAKE) demo

.PHONY: short
short: lint test-openid test-s3

.PHONY: generate
generate: ## write the generated tables anew (needs npm and its registry)
	go generate ./...

.PHONY: tidy
tidy: ## see that go.mod and go.sum are what the code needs
	go mod tidy -diff

.PHONY: vet
vet: ## run go vet
	go vet ./...

# Compares the files before and after, not with the last commit, so that work
# in progress is no difference.
.PHONY: generated
generated: ## see that generating changes nothing
	@if ! command -v npm >/dev/null; then echo "generated: SKIPPED, npm is not installed"; exit 0; fi; \
	sums() { git ls-files -co --exclude-standard | sort | while read -r f; do [ ! -f "$$f" ] || sha256sum "$$f"; done; }; \
	before=$$(sums); go generate ./...; after=$$(sums); \
	diff <(echo "$$before") <(echo "$$after") || { echo "generated: these files are not what go generate writes"; exit 1; }

# A tool is installed once for each version: the folder it lies in says which.
$(GOLANGCI_BIN):
	GOBIN=$(@D) go install $(GOLANGCI)

$(GOFUMPT_BIN):
	GOBIN=$(@D) go install $(GOFUMPT)

$(VERSITYGW_BIN):
	GOBIN=$(@D) go install github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW_VERSION)
