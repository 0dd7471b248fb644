# Two commands matter: `make demo` shows Skiff at work, `make test` runs everything that CI runs.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo

# Looked up when it is needed: the packages that decide may only just have been installed.
TARGET = $(shell scripts/target)
RELEASE = target/$(TARGET)/release
BUILD = CARGO_BUILD_TARGET=$(TARGET) $(CARGO)

.PHONY: all build demo test lint vm bench install install-units install-docs uninstall clean

all: build

build:
	$(BUILD) build --release --package skiff --package monitor

demo:
	scripts/install-packages build
	$(BUILD) build --release --package skiff --package monitor
	scripts/demo $(RELEASE)

test:
	CARGO=$(CARGO) scripts/test

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

vm:
	$(BUILD) xtask vm

bench:
	scripts/install-packages peers
	$(BUILD) xtask bench

install: build install-units install-docs
	install -D -m 0755 $(RELEASE)/skiff $(DESTDIR)$(PREFIX)/bin/skiff
	install -D -m 0755 $(RELEASE)/skiff-monitor $(DESTDIR)$(PREFIX)/libexec/skiff/skiff-monitor
	ln -sf skiff $(DESTDIR)$(PREFIX)/bin/skiff-oci

# For systemd: containers with a restart policy come back at boot, and are stopped in order before the host is.
install-units:
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/systemd/user
	sed 's|@BIN@|$(PREFIX)/bin|' scripts/systemd/system.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/skiff.service
	sed 's|@BIN@|$(PREFIX)/bin|' scripts/systemd/user.service > $(DESTDIR)$(PREFIX)/lib/systemd/user/skiff.service
	chmod 0644 $(DESTDIR)$(PREFIX)/lib/systemd/*/skiff.service

# Man pages and completions, which the program writes from its own table of commands.
install-docs: build
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	install -d $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(RELEASE)/skiff man $(DESTDIR)$(PREFIX)/share/man/man1
	$(RELEASE)/skiff completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/skiff
	$(RELEASE)/skiff completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_skiff
	$(RELEASE)/skiff completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/skiff.fish

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/share/man/man1/skiff.1 $(DESTDIR)$(PREFIX)/share/man/man1/skiff-*.1
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/skiff
	rm -f $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_skiff
	rm -f $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/skiff.fish
	rm -f $(DESTDIR)$(PREFIX)/lib/systemd/system/skiff.service $(DESTDIR)$(PREFIX)/lib/systemd/user/skiff.service
	rm -f $(DESTDIR)$(PREFIX)/bin/skiff $(DESTDIR)$(PREFIX)/bin/skiff-oci
	rm -f $(DESTDIR)$(PREFIX)/libexec/skiff/skiff-monitor

clean:
	$(CARGO) clean
