// What sweeps of very many queues leave in this process's caches is given back.
#pragma once

namespace ecto_job {

// Empties PostgreSQL's caches if many queues were freed since it last did. Outside of a
// transaction.
void trim_memory();

} // namespace ecto_job
