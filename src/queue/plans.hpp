// Saved plans, one for each queue and statement, made at the first use in a session.
#pragma once

#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// Returns a valid plan that acts on this queue's own table. SPI is connected.
SPIPlanPtr plan_for(Queue *queue, Statement statement);

// Raises ERROR 55000 if the plan acts on another table than the queue's. Called after each
// execution too, which may have parsed the text again: the ERROR undoes what was done.
void require_own_table(const Queue *queue, SPIPlanPtr plan);

} // namespace ecto_job
