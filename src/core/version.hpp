// Versions of the extension and of its library: numbers with dots between. No lock, no allocation.
#pragma once

namespace ecto_job {

// -1, 0, 1: `left` is older, the same, newer. A number that is missing is 0.
int compare_versions(const char *left, const char *right);

} // namespace ecto_job
