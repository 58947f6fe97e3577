// The reason why a completion deleted nothing: the job belongs to another holder by now, or a
// trigger or policy keeps its row.
#pragma once

#include <optional>
#include <span>

#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// The holder that the caller claims to be: by lease, by attempt, or by both
struct Holder {
    std::optional<int64> lease;
    std::optional<int32> attempt;
};

// Raises the error of a completion that deleted nothing: JQ001, or 09000 if the row exists and the
// job is the holder's.
[[noreturn]] void raise_stale(Queue *queue, int64 id, const Holder &holder);

// Raises JQ001 or 09000 if a completion has not returned all pairs of an id and a lease in
// SPI_tuptable. A repeated pair is no fault.
void raise_if_stale(Queue *queue, ArrayType *ids, ArrayType *leases);

// Returns the elements of an array of bigints without nulls.
std::span<const int64> elements_of(ArrayType *array);

// Returns the lease that all elements are; nullopt if they differ, or there are none.
std::optional<int64> only_lease(ArrayType *leases);

} // namespace ecto_job
