# ecto_job: extension, consumer program, tests. `make help` lists the targets.
# Sources and tests are found by wildcard: a new file needs no line here.

EXTENSION  = ecto_job
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(EXTENSION).control)
PG_CONFIG  ?= pg_config
# make WERROR= for a compiler that warns of more than ours
WERROR     ?= -Werror

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

UNIT_TESTS = $(patsubst test/unit/%.cpp,build/unit/%,$(wildcard test/unit/*_test.cpp))
FUZZERS    = $(patsubst test/fuzz/%.cpp,build/fuzz/%,$(wildcard test/fuzz/*.cpp))
PROPERTY_TESTS = $(patsubst test/property/%.cpp,build/property/%,$(wildcard test/property/*_test.cpp))

WARNINGS      = -Wall -Wextra -Wshadow -Wconversion -Wold-style-cast $(WERROR)
PG_CPPFLAGS   = -isystem $(shell $(PG_CONFIG) --includedir-server) -isystem $(shell $(PG_CONFIG) --includedir) \
                -Isrc -DECTO_JOB_VERSION='"$(EXTVERSION)"' \
                -DPGDLLEXPORT='__attribute__((visibility("default")))'
PG_CXXFLAGS   = -std=c++20 -fvisibility=hidden -fvisibility-inlines-hidden -MMD -MP $(WARNINGS) $(EXTRA_CXXFLAGS)
SHLIB_LINK    = -lstdc++ $(EXTRA_LDFLAGS)
CONSUMER_CPPFLAGS = -DSPDLOG_SHARED_LIB -DSPDLOG_COMPILED_LIB -DSPDLOG_FMT_EXTERNAL
CONSUMER_LIBS = -L$(shell $(PG_CONFIG) --libdir) -lpq -lspdlog -lfmt -pthread $(EXTRA_LDFLAGS)
# Nothing of ours is inlined by the server's JIT; its bitcode doubles the time of a build
override with_llvm := no
EXTRA_CLEAN   = $(OBJS:.o=.d) $(CONSUMER_ONLY) $(CONSUMER_ONLY:.o=.d) build output_iso tmp_check

# These are scripts, which need nothing of PostgreSQL's build files and install them if they are missing
SCRIPTED = check model chaos chaos-mutants mutation-test quickstart lint format dist help
ifneq ($(if $(MAKECMDGOALS),$(filter-out $(SCRIPTED),$(MAKECMDGOALS)),all),)
ifneq ($(shell command -v $(PG_CONFIG)),)
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
else
all install installcheck:
	@echo '$(PG_CONFIG) not found. Install PostgreSQL 15 with its server headers (Debian: postgresql-server-dev-15)' >&2
	@echo 'or name it: make PG_CONFIG=/path/to/pg_config. On Debian 12 make check and make quickstart install it.' >&2
	@exit 1
endif
endif
-include $(OBJS:.o=.d) $(CONSUMER_ONLY:.o=.d)

$(INSTALL_SQL): src/sql/$(EXTENSION).sql $(EXTENSION).control
	sed 's/@EXTVERSION@/$(EXTVERSION)/' $< >$@

# The version is compiled in
src/module.o src/functions/status.o src/scheduler/round.o $(CONSUMER_ONLY): $(EXTENSION).control

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

# Unit tests run without a server: core, the texts of the statements and consumer, under the sanitizers. Fuzz targets run what is pure: core,
# and the consumer's text.
SANITIZE  = -g -fsanitize=address,undefined -fno-sanitize-recover=undefined
UNIT_OBJS = $(patsubst src/%.cpp,build/unit/%.o,$(wildcard src/core/*.cpp) src/queue/statements.cpp \
              $(filter-out src/consumer/main.cpp,$(wildcard src/consumer/*.cpp)))
# Not optimised: the sanitizers make that four times as slow to compile
UNIT_CXX  = $(CXX) $(PG_CXXFLAGS) -O0 $(SANITIZE) $(PG_CPPFLAGS) $(CONSUMER_CPPFLAGS)
build/unit/%.o: src/%.cpp | consumer-packages
	@mkdir -p $(@D)
	$(UNIT_CXX) -c $< -o $@
# An archive, of which a test takes what it needs
build/unit/tested.a: $(UNIT_OBJS)
	$(AR) rcs $@ $^
build/unit/%_test.o: test/unit/%_test.cpp
	@mkdir -p $(@D)
	$(UNIT_CXX) -c $< -o $@
build/unit/%_test: build/unit/%_test.o build/unit/tested.a
	$(UNIT_CXX) $^ -o $@ -lgtest -lgtest_main -lrapidcheck $(CONSUMER_LIBS)
build/fuzz/consumer_%: test/fuzz/consumer_%.cpp src/consumer/%.cpp src/consumer/%.hpp
	@mkdir -p $(@D)
	clang++ -std=c++20 -O1 $(SANITIZE) -fsanitize=fuzzer -Isrc $(filter %.cpp,$^) -o $@
build/fuzz/%: test/fuzz/%.cpp $(wildcard src/core/*)
	@mkdir -p $(@D)
	clang++ -std=c++20 -O1 $(SANITIZE) -fsanitize=fuzzer -Isrc $< $(wildcard src/core/*.cpp) -o $@
-include $(UNIT_OBJS:.o=.d) $(UNIT_TESTS:=.d)
.SECONDARY: $(UNIT_OBJS) $(UNIT_TESTS:=.o) $(PROPERTY_TESTS:=.o)

# Clients of a server
build/property/%_test.o: test/property/%_test.cpp
	@mkdir -p $(@D)
	$(CXX) $(PG_CXXFLAGS) -O0 -g $(PG_CPPFLAGS) -c $< -o $@
build/property/%_test: build/property/%_test.o
	$(CXX) $^ -o $@ -lgtest -lgtest_main -lrapidcheck -L$(shell $(PG_CONFIG) --libdir) -lpq -pthread
-include $(PROPERTY_TESTS:=.d)

# The benchmark's client of libpq
BENCH_CLIENT = build/bench/bench_client
BENCH_OBJS   = $(patsubst test/bench/client/%.cpp,build/bench/%.o,$(wildcard test/bench/client/*.cpp))
build/bench/%.o: test/bench/client/%.cpp | consumer-packages
	@mkdir -p $(@D)
	$(CXX) $(PG_CXXFLAGS) -O2 -isystem $(shell $(PG_CONFIG) --includedir) -c $< -o $@
$(BENCH_CLIENT): $(BENCH_OBJS)
	$(CXX) $^ -o $@ -L$(shell $(PG_CONFIG) --libdir) -lpq -pthread
-include $(BENCH_OBJS:.o=.d)

build-tests: $(UNIT_TESTS) $(FUZZERS)
build-property: $(PROPERTY_TESTS)
unit: $(UNIT_TESTS)
	@set -e; for t in $^; do ./$$t; done
fuzz: $(FUZZERS)
	@set -e; for t in $^; do ./$$t -max_total_time=$${FUZZ_SECONDS:-30} -print_final_stats=1; done

model:
	@test/model/run

ifneq ($(filter check,$(MAKECMDGOALS)),)
# PGXS has a check of its own, which only says that it is not supported
check:
	+@MAKE='$(MAKE)' tools/check $(KINDS)
endif
chaos:
	+@MAKE='$(MAKE)' test/chaos/run
chaos-mutants:
	+@MAKE='$(MAKE)' test/chaos/mutants
quickstart:
	+@MAKE='$(MAKE)' tools/quickstart
mutation-test:
	+@MAKE='$(MAKE)' tools/mutation-test $(MUTANT)
lint:
	+@MAKE='$(MAKE)' tools/lint
format:
	clang-format -i $$(tools/sources)
bench: all $(BENCH_CLIENT)
	+@MAKE='$(MAKE)' test/bench/run $(BENCH)
dist:
	git archive --prefix=$(EXTENSION)-$(EXTVERSION)/ -o $(EXTENSION)-$(EXTVERSION).tar.gz HEAD

# For tools/lint: how a source file is compiled, in words of the shell
lint-flags:
	@printf '%s\n' '$(subst ','\'',$(PG_CPPFLAGS) $(CONSUMER_CPPFLAGS) -std=c++20 $(WARNINGS))'

help:
	@cat tools/help.txt

.PHONY: all check model chaos chaos-mutants mutation-test quickstart lint format unit fuzz build-tests build-property bench dist help consumer-packages lint-flags
