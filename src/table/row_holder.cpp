// Reading of a row's header. See row_holder.hpp.
#include "table/row_holder.hpp"

#include "pg/compat.hpp"

namespace ecto_job {

namespace {

TransactionId if_running(TransactionId transaction) {
    if (!TransactionIdIsNormal(transaction) || !TransactionIdIsInProgress(transaction))
        return InvalidTransactionId;
    return SubTransGetTopmostTransaction(transaction);
}

} // namespace

TransactionId row_holder(TupleTableSlot *slot) {
    if (!TTS_IS_BUFFERTUPLE(slot))
        return InvalidTransactionId;
    const auto *const row = reinterpret_cast<BufferHeapTupleTableSlot *>(slot);
    // The two are written together under the page's lock, and one says what the other means
    LockBuffer(row->buffer, BUFFER_LOCK_SHARE);
    const HeapTupleHeader header = row->base.tuple->t_data;
    const TransactionId holder = HeapTupleHeaderGetRawXmax(header);
    const uint16 mask = header->t_infomask;
    LockBuffer(row->buffer, BUFFER_LOCK_UNLOCK);
    if ((mask & HEAP_XMAX_INVALID) != 0 || HEAP_LOCKED_UPGRADED(mask))
        return InvalidTransactionId;
    if ((mask & HEAP_XMAX_IS_MULTI) == 0)
        return if_running(holder);
    MultiXactMember *members = nullptr;
    const int count =
        GetMultiXactIdMembers(holder, &members, false, HEAP_XMAX_IS_LOCKED_ONLY(mask));
    for (int i = 0; i < count; i++) {
        const TransactionId running = if_running(members[i].xid);
        if (TransactionIdIsValid(running))
            return running;
    }
    return InvalidTransactionId;
}

} // namespace ecto_job
