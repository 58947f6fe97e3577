// What commits have rung becomes notifications: one for each queue, in a transaction of their own.
//
// The flags are cleared first, so that what is rung meanwhile is announced again, and set again if
// the transaction fails or its process ends. Called in a memory context that is soon reset.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Once in a process.
void prepare_rings();

// False if it failed, as when the notification queue is full.
bool send_rings();

// After rings were sent: a pause in which more may gather, while nobody has to wake this process.
// 1 ms, and up to 4 while some come in each.
void gather_rings();

} // namespace ecto_job
