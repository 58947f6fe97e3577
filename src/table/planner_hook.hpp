// The planner hook, which enlarges the estimated size of queues on which EctoJob's library works.
//
// The library sends its own statements, so its plans cannot be chosen for it. It always needs an
// index scan over a range. But the planner estimates from the number of rows at the last VACUUM.
// For a queue that was drained then, that number is zero, and the planner reads all pages of the
// table, or all rows for each row. So such a queue is never estimated as small: a plan for a large
// table serves a small one as well.
#pragma once

namespace ecto_job {

// Installs the hook, in each session that loads the library: with preload in every session, else
// from its first write to a queue on. In a database without the extension the hook makes one
// comparison. With the extension it compares the function of each trigger with one OID, which is
// looked up once, and again after a change of a schema or a function.
void install_planner_hook();

} // namespace ecto_job
