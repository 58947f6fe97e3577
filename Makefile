# ecto_job: the extension and the consumer program. `make help` lists the targets; tests are in test/test.mk.
# Sources are found by wildcard: a new file needs no line here.

EXTENSION  = ecto_job
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(EXTENSION).control)
PG_CONFIG  ?= pg_config
# -Werror in tools/check, tools/lint and .ci/run; empty for packagers, whose compilers may have more warnings
WERROR     ?=

MODULE_big    = $(EXTENSION)
CORE_OBJS     = $(patsubst %.cpp,%.o,$(wildcard src/core/*.cpp))
OBJS          = $(patsubst %.cpp,%.o,$(filter-out src/consumer/%,$(wildcard src/*.cpp src/*/*.cpp)))
CONSUMER      = $(EXTENSION)_consumer
CONSUMER_ONLY = $(patsubst %.cpp,%.o,$(wildcard src/consumer/*.cpp))
SCRIPTS_built = $(CONSUMER)
INSTALL_SQL   = src/sql/$(EXTENSION)--$(EXTVERSION).sql
DATA_built    = $(INSTALL_SQL)
DATA          = $(wildcard src/sql/upgrade/*.sql src/sql/released/*.sql)

REGRESS        = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS   = --load-extension=$(EXTENSION)
ISOLATION      = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation --load-extension=$(EXTENSION)
TAP_TESTS      = 1
PROVE_TESTS    = $(sort $(wildcard test/tap/*.pl))

WARNINGS      = -Wall -Wextra -Wshadow -Wconversion -Wold-style-cast $(WERROR)
PG_CPPFLAGS   = -isystem $(shell $(PG_CONFIG) --includedir-server) -isystem $(shell $(PG_CONFIG) --includedir) \
                -Isrc -DECTO_JOB_VERSION='"$(EXTVERSION)"' \
                -DPGDLLEXPORT='__attribute__((visibility("default")))'
PG_CXXFLAGS   = -std=c++20 -fvisibility=hidden -fvisibility-inlines-hidden -MMD -MP $(WARNINGS) $(EXTRA_CXXFLAGS)
SHLIB_LINK    = -lstdc++ $(EXTRA_LDFLAGS)
CONSUMER_CPPFLAGS = -DSPDLOG_SHARED_LIB -DSPDLOG_COMPILED_LIB -DSPDLOG_FMT_EXTERNAL
CONSUMER_LIBS = -L$(shell $(PG_CONFIG) --libdir) -lpq -lspdlog -lfmt -pthread $(EXTRA_LDFLAGS)
# The server's JIT inlines no function of the extension, and bitcode would double the time of a build
override with_llvm := no
EXTRA_CLEAN   = $(OBJS:.o=.d) $(CONSUMER_ONLY) $(CONSUMER_ONLY:.o=.d) build output_iso tmp_check

# These targets work without PGXS, PostgreSQL's build files; some of them install it
SCRIPTED = deps check model chaos chaos-mutants mutation-test package-test quickstart lint format dist deb help
ifneq ($(if $(MAKECMDGOALS),$(filter-out $(SCRIPTED),$(MAKECMDGOALS)),all),)
ifneq ($(shell command -v $(PG_CONFIG)),)
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
else
all install installcheck:
	@echo '$(PG_CONFIG) not found. Install PostgreSQL 15 with its server headers (Debian: postgresql-server-dev-15)' >&2
	@echo 'or name it: make PG_CONFIG=/path/to/pg_config. On Debian 12 make deps installs it.' >&2
	@exit 1
endif
endif
-include $(OBJS:.o=.d) $(CONSUMER_ONLY:.o=.d)

$(INSTALL_SQL): src/sql/$(EXTENSION).sql $(EXTENSION).control
	sed 's/@EXTVERSION@/$(EXTVERSION)/' $< >$@

# The version is compiled into these objects
src/module.o src/functions/status.o src/scheduler/registry_snapshot.o src/scheduler/scheduler.o $(CONSUMER_ONLY): $(EXTENSION).control

$(CONSUMER_ONLY): override CPPFLAGS += $(CONSUMER_CPPFLAGS)
$(CONSUMER_ONLY): override CXXFLAGS += $(CONSUMER_CXXFLAGS)
$(CONSUMER_ONLY): | consumer-packages
$(CONSUMER): $(CONSUMER_ONLY) $(CORE_OBJS)
	$(CXX) $(CXXFLAGS) $^ -o $@ $(LDFLAGS) $(CONSUMER_LIBS)

consumer-packages:
	@for header in CLI/CLI.hpp nlohmann/json.hpp spdlog/spdlog.h fmt/core.h; do \
	  printf '#if !__has_include(<%s>)\n#error\n#endif\n' $$header | $(CXX) $(CPPFLAGS) -x c++ -fsyntax-only - 2>/dev/null || \
	  { echo "$(CONSUMER) needs <$$header>. Debian: apt-get install libcli11-dev nlohmann-json3-dev libspdlog-dev libfmt-dev" >&2; exit 1; }; \
	done

include test/test.mk

deps:
	@bash -c '. tools/lib/common.sh; need_packages build test lint'
quickstart:
	+@MAKE='$(MAKE)' tools/quickstart
lint:
	+@MAKE='$(MAKE)' tools/lint
format:
	clang-format -i $$(tools/lib/sources)
# The archives of a release: the zip file is what PGXN takes. DIST_TREE is what git packs
DIST_TREE = HEAD
deb:
	@tools/deb
dist:
	for suffix in zip tar.gz; do \
	  git archive --prefix=$(EXTENSION)-$(EXTVERSION)/ -o $(EXTENSION)-$(EXTVERSION).$$suffix $(DIST_TREE) || exit; \
	done

# The flags with which tools/lint and editors compile any source file of src/ and test/
COMPILE_FLAGS = $(PG_CPPFLAGS) $(CONSUMER_CPPFLAGS) -std=c++20 $(WARNINGS)
lint-flags:
	@printf '%s\n' '$(subst ','\'',$(COMPILE_FLAGS))'
compile_commands.json:
	@{ printf '['; for file in $$(tools/lib/sources | grep '\.cpp$$'); do \
	  printf '%s\n{"directory": "%s", "file": "%s", "command": "%s -c %s"}' "$$comma" '$(CURDIR)' "$$file" \
	    '$(CXX) $(subst ','\'',$(subst ",\",$(COMPILE_FLAGS)))' "$$file"; comma=,; done; echo ']'; } >$@

help:
	@cat tools/lib/help.txt

.PHONY: all deps quickstart lint format dist deb help consumer-packages lint-flags compile_commands.json
