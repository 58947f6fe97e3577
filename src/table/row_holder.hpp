// Which running transaction has locked, changed or deleted a row, as the row itself tells.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Returns the top-level transaction that is in progress, or prepared, and has the version of a row
// in the slot locked; InvalidTransactionId if there is none. Of several that share a lock it is one
// of them. On a standby it is a transaction of the primary.
TransactionId row_holder(TupleTableSlot *slot);

} // namespace ecto_job
