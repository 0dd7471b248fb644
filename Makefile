# Two commands matter: `make demo` shows Skiff at work, `make test` runs everything that CI runs.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo

HOST := $(shell rustc -vV | sed -n 's/^host: //p')
DEBUG := target/$(HOST)/debug
RELEASE := target/$(HOST)/release

.PHONY: all build demo test lint vm bench install uninstall clean

all: build

build:
	$(CARGO) build --release --package skiff --package monitor

demo:
	scripts/install-packages build
	$(CARGO) build --release --package skiff --package monitor
	scripts/demo $(RELEASE)

test:
	CARGO=$(CARGO) scripts/test

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

vm:
	$(CARGO) xtask vm

bench:
	scripts/install-packages peers
	$(CARGO) xtask bench

install: build
	install -D -m 0755 $(RELEASE)/skiff $(DESTDIR)$(PREFIX)/bin/skiff
	install -D -m 0755 $(RELEASE)/skiff-monitor $(DESTDIR)$(PREFIX)/libexec/skiff/skiff-monitor
	ln -sf skiff $(DESTDIR)$(PREFIX)/bin/skiff-oci

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/skiff $(DESTDIR)$(PREFIX)/bin/skiff-oci
	rm -f $(DESTDIR)$(PREFIX)/libexec/skiff/skiff-monitor

clean:
	$(CARGO) clean
