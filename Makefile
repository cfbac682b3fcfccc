# The commands of this project in one word each; how they work is in CMakeLists.txt and CMakePresets.json.
.PHONY: help build train test sanitize bench fuzz mutate lint format format-check tidy install install-dev
.DEFAULT_GOAL := help

SOURCES = $(shell find engine ops nn moe apps tests -name '*.[ch]pp' -o -name '*.cu' -o -name '*.cuh')

help:           ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

build: install build/release/build.ninja  ## install what is missing and build build/release/simsmoe_app
	@cmake --build --preset release --target simsmoe_app

train: build    ## train a small mixture-of-experts model on English text, about 3 minutes
	@build/release/simsmoe_app train apps/configs/quickstart.toml

test: install build/release/build.ninja  ## build everything and run all tests
	@cmake --build --preset release
	@ctest --preset release

sanitize: install build/dev/build.ninja  ## the same tests under the address and undefined-behaviour sanitizers
	@cmake --build --preset dev
	@ctest --preset dev

bench: build    ## measure training speed against this machine's peak, and PyTorch when it is there
	@build/release/simsmoe_app bench

fuzz: install-dev build/fuzz/build.ninja  ## feed random input to the readers, a minute each
	@cmake --build --preset fuzz
	@ctest --preset fuzz

mutate: install  ## plant single mistakes, one at a time, and see whether the tests notice: SEED=1 COUNT=100
	@tests/mutation/mutate.py --seed $(or $(SEED),1) --count $(or $(COUNT),100)

lint: install build/release/build.ninja  ## layering, sizes, completeness of cases, routers and reads from devices
	@ctest --preset release --label-regex lint --verbose

format: install-dev  ## reformat the sources
	@clang-format -i $(SOURCES)

format-check: install-dev  ## fail when `make format` would change something
	@clang-format --dry-run --Werror $(SOURCES)

tidy: install-dev build/release/build.ninja  ## static analysis: clang-tidy and cppcheck
	@run-clang-tidy -quiet -p build/release -extra-arg=-Wno-unknown-warning-option '^$(CURDIR)/(engine|ops|nn|moe|apps)/.*cpp$$'
	@cppcheck --project=build/release/compile_commands.json --quiet --inline-suppr --error-exitcode=1 -i tests \
	  --enable=warning,performance,portability --suppressions-list=third_party/cmake/cppcheck.txt

install:
	@third_party/install-debian.sh

install-dev:
	@third_party/install-debian.sh --dev

build/%/build.ninja: CMakePresets.json | install
	@cmake --preset $*
