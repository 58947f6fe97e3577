// Where a claim starts, by the queue's low-water mark, and the advance of the mark when the claim's
// transaction has committed. See shared/low_water.hpp for why the mark is right.
#pragma once

#include <optional>

#include "core/key.hpp"
#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Returns the key from which a claim starts. Below the key no job is AVAILABLE, except jobs that
// became so since, or with triggers off. SPI is connected.
JobKey claim_start(Queue *queue);

// Returns where to start another claim after one that found no job; nullopt: no other claim is
// needed, since the mark was checked lately.
std::optional<JobKey> claim_start_again(Queue *queue);

// Calls search(key) with the key where a claim starts and, if that finds nothing and the mark may
// hide a job, again from the beginning. Returns what was found.
template <typename F> auto search_from_mark(Queue *queue, F search) {
    const auto found = search(claim_start(queue));
    if (found)
        return found;
    const std::optional<JobKey> again = claim_start_again(queue);
    return again ? search(*again) : found;
}

// Returns the key of the first AVAILABLE job, searched for from where a claim would start; nullopt:
// there is none. Locks no row, and finds jobs that other transactions have claimed and not
// committed. SPI is connected.
std::optional<JobKey> find_available(Queue *queue);

// For the end of the transaction: see transaction_end.cpp. Cannot fail.
void finish_advances();
void cancel_advances();

} // namespace ecto_job
