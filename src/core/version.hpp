// Comparison of versions of the extension and its library: numbers separated by dots.
#pragma once

namespace ecto_job {

// Returns -1, 0 or 1: `left` is older than, the same as, or newer than `right`. A missing number
// counts as 0.
int compare_versions(const char *left, const char *right);

} // namespace ecto_job
