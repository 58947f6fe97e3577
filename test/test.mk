# Rules for tests and the benchmark, included by the Makefile. Tests are found by wildcard.

UNIT_TESTS     = $(patsubst test/unit/%.cpp,build/unit/%,$(wildcard test/unit/*_test.cpp))
FUZZERS        = $(patsubst test/fuzz/%.cpp,build/fuzz/%,$(wildcard test/fuzz/*.cpp))
PROPERTY_TESTS = $(patsubst test/property/%.cpp,build/property/%,$(wildcard test/property/*_test.cpp))

# Unit tests run core, the texts of the statements and the consumer under the sanitizers, without a server. Fuzz targets
# run pure code: core, and the consumer's text.
SANITIZE  = -g -fsanitize=address,undefined -fno-sanitize-recover=undefined
UNIT_OBJS = $(patsubst src/%.cpp,build/unit/%.o,$(wildcard src/core/*.cpp) src/queue/statements.cpp \
              $(filter-out src/consumer/main.cpp,$(wildcard src/consumer/*.cpp)))
# -O0: with the sanitizers, optimised code takes four times as long to compile
UNIT_CXX  = $(CXX) $(PG_CXXFLAGS) -O0 $(SANITIZE) $(PG_CPPFLAGS) $(CONSUMER_CPPFLAGS)
build/unit/%.o: src/%.cpp | consumer-packages
	@mkdir -p $(@D)
	$(UNIT_CXX) -c $< -o $@
# An archive, so that each test links only the objects that it needs
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

# Property tests are clients of a server
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
# PGXS has a target `check`, too, which only prints that it is not supported
check:
	+@MAKE='$(MAKE)' tools/check $(KINDS)
endif
chaos:
	+@MAKE='$(MAKE)' test/chaos/run
chaos-mutants:
	+@MAKE='$(MAKE)' test/chaos/mutants
mutation-test:
	+@MAKE='$(MAKE)' tools/mutation-test $(MUTANT)
package-test:
	+@MAKE='$(MAKE)' test/package/run $(PACKAGE)
bench: all $(BENCH_CLIENT)
	+@MAKE='$(MAKE)' test/bench/run $(BENCH)

.PHONY: check model chaos chaos-mutants mutation-test package-test unit fuzz build-tests build-property bench
