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

# The packages where goroutines meet.
RACE     ?= ./operations/... ./store/... ./cmd/...
FUZZTIME ?= 20s
DATA     ?=

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the commands into bin/
	go build -trimpath -o bin/ ./cmd/...

.PHONY: run
run: build ## serve on a loopback address, with data in firebreak-data/
	bin/firebreak serve

.PHONY: demo
demo: build ## make sample patients, load them, export a group, check every file
	bin/firebreak demo

.PHONY: test
test: ## run all tests
	go test ./...

.PHONY: test-engines
test-engines: ## run the tests that need real servers: an OpenID provider (needs node, npm and its registry)
	FIREBREAK_TEST_OIDC=1 go test -count=1 ./auth/...

.PHONY: race
race: ## run the tests of RACE= under the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race $(RACE)

.PHONY: torture
torture: ## kill and cut the power at every call in turn (about an hour on 2 cores)
	FIREBREAK_TORTURE=1 go test -count=1 -run 'Kill|PowerCut' -timeout 120m ./cmd/firebreak ./store/...

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

.PHONY: check
check: tidy vet test test-engines lint race demo ## everything a change has to pass

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
