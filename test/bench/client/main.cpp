// bench_client MODE is the benchmark's client of libpq for all sides. It reads its task as JSON
// from standard input, and writes its results as JSON to standard output.
#include "modes.hpp"

#include <iostream>

int main(int argc, char **argv) {
    using namespace bench;
    const std::map<std::string, Json (*)(const Json &)> modes{{"drain", drain},
                                                              {"produce", produce},
                                                              {"consume", consume},
                                                              {"hold", hold},
                                                              {"stamp", stamp}};
    const auto mode = modes.find(argc == 2 ? argv[1] : "");
    if (mode == modes.end()) {
        std::cerr << "usage: bench_client drain | produce | consume | hold | stamp\n";
        return 2;
    }
    try {
        const Json result = mode->second(Json::parse(std::cin));
        if (!result.is_null())
            std::cout << result.dump() << '\n';
    } catch (const std::exception &error) {
        std::cerr << "bench_client: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
