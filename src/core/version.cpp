// Comparison of versions. See version.hpp.
#include "core/version.hpp"

#include <cstdlib>
#include <cstring>

namespace ecto_job {

int compare_versions(const char *left, const char *right) {
    while (*left != '\0' || *right != '\0') {
        char *left_end = nullptr;
        char *right_end = nullptr;
        const long a = std::strtol(left, &left_end, 10);
        const long b = std::strtol(right, &right_end, 10);
        if (a != b)
            return a < b ? -1 : 1;
        left = left_end + std::strcspn(left_end, "0123456789");
        right = right_end + std::strcspn(right_end, "0123456789");
    }
    return 0;
}

} // namespace ecto_job
