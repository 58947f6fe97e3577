// One saved plan per queue and statement, made at its first use in a session.
#pragma once

#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// The plan, valid and checked to act on this queue's own table. SPI is connected.
SPIPlanPtr plan_for(Queue *queue, Statement statement);

// ERROR 55000 if the plan acts on another table than the queue's. For after its execution too,
// which may have parsed the text anew: the ERROR undoes what was done.
void require_own_table(const Queue *queue, SPIPlanPtr plan);

} // namespace ecto_job
