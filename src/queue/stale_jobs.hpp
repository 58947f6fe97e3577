// Why a completion completed nothing: the job is another's by now, or a trigger or policy keeps its
// row.
#pragma once

#include <optional>
#include <span>

#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Whom a caller takes himself for: by lease, by attempt, or by both
struct Holder {
    std::optional<int64> lease;
    std::optional<int32> attempt;
};

// After a completion that deleted nothing: ERROR JQ001, or 09000 if the row is there and the
// holder's.
[[noreturn]] void raise_stale(Queue *queue, int64 id, const Holder &holder);

// After a completion of these pairs, whose rows are in SPI_tuptable: the same with those that it
// did not return, if there are any. A repeated pair is no fault.
void raise_if_stale(Queue *queue, ArrayType *ids, ArrayType *leases);

// Returns the elements of an array of bigints without nulls.
std::span<const int64> elements_of(ArrayType *array);

// Returns the lease that all elements are; nullopt if they differ, or there are none.
std::optional<int64> only_lease(ArrayType *leases);

} // namespace ecto_job
