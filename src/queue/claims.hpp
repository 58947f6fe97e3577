// Where a claim starts, by the queue's low-water mark, and the advance of the mark when the claim's
// transaction has committed. See shared/low_water.hpp for why it is right.
#pragma once

#include <optional>

#include "core/key.hpp"
#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Before each claim: nothing below the result is AVAILABLE, but what others make so meanwhile, or
// made so with triggers off. SPI is connected.
JobKey claim_start(Queue *queue);

// After a claim that found nothing: where to begin another, if the mark may hide a job.
std::optional<JobKey> claim_start_again(Queue *queue);

} // namespace ecto_job
