// What the planner believes of the size of a queue on which EctoJob's library works.
//
// The library's statements are its own, so its plans cannot be chosen for it. What it needs is a
// range of an index, always; but the planner sees how many rows there were when VACUUM last looked,
// which in a queue that had just been drained is none, and then reads all pages of the table, or
// all rows for each row. So such a queue is never small: a plan for a large table serves a small
// one as well.
#pragma once

namespace ecto_job {

// In each session that has loaded the library: with preload in all of them, else from the first row
// of a queue that the session writes. Where the extension is not, the hook looks at a flag of this
// process and leaves; where it is, it compares the function of each trigger with one OID. Which
// one, is looked up once and again when a schema, or this function, has changed.
void install_planner_hook();

} // namespace ecto_job
