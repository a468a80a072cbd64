# A thin front for meson and ninja. Every target first makes sure that what it
# needs is installed (tools/setup.sh), so a fresh Debian 12 needs git and make only.

.PHONY: help build demo check bench lint format asan tsan install clean
.DEFAULT_GOAL := help

help:
	@echo 'make build    build/holdfast, build/hf-bench and the two libraries'
	@echo 'make demo     build, then run the three demos on a large real file'
	@echo 'make check    lint, all tests, and again under the sanitizers'
	@echo 'make bench    build and run the benchmarks (BENCH_ARGS="--json FILE GROUP")'
	@echo 'make lint     layering, banned functions, file lengths, formatting'
	@echo 'make format   let clang-format lay out all C files'
	@echo 'make asan     unit tests and simulator under ASan + UBSan (build-asan/)'
	@echo 'make tsan     unit tests and simulator under TSan (build-tsan/)'
	@echo 'make install  install below PREFIX (/usr/local), honours DESTDIR'
	@echo 'make clean    remove the build directories'

build:
	@tools/setup.sh build
	@tools/build.sh plain

demo: build
	@tools/demo.sh

check:
	@tools/setup.sh build lint
	@tools/check.sh

bench: build
	@build/hf-bench $(BENCH_ARGS)

lint:
	@tools/setup.sh build lint
	@tools/lint.sh

format:
	@tools/setup.sh lint
	@tools/lint.sh --fix

asan tsan:
	@tools/setup.sh build
	@tools/check.sh --only $@

# Installing as root must not leave root's files in the build directory, hence
# --no-rebuild: 'make build' first, then 'sudo make install'. Only a new PREFIX rebuilds.
install:
	@test -f build/build.ninja || { echo "run 'make build' first" >&2; exit 1; }
	@$(if $(PREFIX),meson configure build -Dprefix='$(PREFIX)' && tools/build.sh plain)
	@meson install -C build --no-rebuild --quiet

clean:
	rm -rf build build-asan build-tsan
