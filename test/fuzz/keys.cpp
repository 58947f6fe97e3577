// The order of keys, made from any bytes, is compared with the order of tuples.
#include "core/key.hpp"

#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>
#include <tuple>

using namespace ecto_job;

namespace {

void require(bool truth) {
    if (!truth)
        std::abort();
}

// Generates a key whose fields are often equal to others, as random fields hardly ever are
JobKey any_key(FuzzedDataProvider &data) {
    if (data.ConsumeBool())
        return {data.ConsumeIntegralInRange(-1, 1), data.ConsumeIntegralInRange<Micros>(-1, 1),
                data.ConsumeIntegralInRange<std::int64_t>(-1, 1)};
    return {data.ConsumeIntegral<std::int32_t>(), data.ConsumeIntegral<Micros>(),
            data.ConsumeIntegral<std::int64_t>()};
}

auto fields(const JobKey &key) {
    return std::tuple{key.priority, key.schedule, key.id};
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *bytes, std::size_t size) {
    FuzzedDataProvider data{bytes, size};
    const JobKey left = any_key(data);
    const JobKey right = any_key(data);
    require((left <=> right) == (fields(left) <=> fields(right)));
    require((left == right) == (fields(left) == fields(right)));
    for (const JobKey &key : {left, right})
        require(lowest_key <= key && key <= highest_key);
    return 0;
}
