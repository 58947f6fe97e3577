// The callbacks at the end of transactions and subtransactions. See transaction_end.hpp.
//
// What may fail is done before the commit. Afterwards, and in an abort, nothing here can: locks are
// taken, flags and latches set, memory is freed.
#include "queue/transaction_end.hpp"

#include "pg/boundary.hpp"
#include "queue/claim_start.hpp"
#include "queue/leases.hpp"
#include "queue/pending_changes.hpp"
#include "queue/prepared_changes.hpp"
#include "queue/queue.hpp"
#include "shared/waiters.hpp"

namespace ecto_job {

namespace {

struct Requests {
    bool signal = false; // signal the scheduler at COMMIT
    Start start = Start::no;
    bool signal_if_aborted = false;
    bool database_scan = false; // have the launcher scan for databases at COMMIT
};

Requests requests;

void send_requests() {
    if (requests.signal)
        signal_scheduler(requests.start);
    if (requests.database_scan)
        request_database_scan();
}

void forget_everything() {
    forget_changes();
    forget_leases();
    free_retired_queues();
    requests = {};
    end_prepare();
}

void at_transaction_end(XactEvent event, void *) {
    switch (event) {
    case XACT_EVENT_PRE_COMMIT:
        at_boundary([] { notify_unserved(); });
        return;
    case XACT_EVENT_PRE_PREPARE:
        // No note can be left without shared memory, so the session calls NOTIFY; PostgreSQL then
        // refuses to prepare, as after any NOTIFY
        if (shared_state() == nullptr)
            at_boundary([] { notify_unserved(); });
        return;
    case XACT_EVENT_COMMIT:
        Assert(CritSectionCount == 0 && InterruptHoldoffCount > 0);
        report_changes();
        finish_advances();
        send_requests();
        end_transaction_of_waiter(true);
        break;
    case XACT_EVENT_PREPARE:
        Assert(CritSectionCount == 0 && InterruptHoldoffCount > 0);
        leave_prepared_note(requests.signal);
        cancel_advances();
        end_transaction_of_waiter(true);
        break;
    case XACT_EVENT_ABORT:
        Assert(CritSectionCount == 0 && InterruptHoldoffCount > 0);
        cancel_advances();
        if (requests.signal_if_aborted)
            signal_scheduler(Start::yes);
        wake_for_undone_claims();
        end_transaction_of_waiter(false);
        break;
    default: // a parallel worker writes nothing
        return;
    }
    forget_everything();
}

void at_subtransaction_end(SubXactEvent event, SubTransactionId subtransaction,
                           SubTransactionId parent, void *) {
    if (event == SUBXACT_EVENT_COMMIT_SUB) {
        give_changes_to_parent(subtransaction, parent);
    } else if (event == SUBXACT_EVENT_ABORT_SUB) {
        forget_changes_of(subtransaction);
        // Jobs that the subtransaction claimed are AVAILABLE again, below the key that an advance
        // has found
        cancel_advances();
    }
}

} // namespace

void install_transaction_callbacks() {
    RegisterXactCallback(at_transaction_end, nullptr);
    RegisterSubXactCallback(at_subtransaction_end, nullptr);
}

void signal_scheduler_at_commit(Start start) {
    Assert(IsTransactionState());
    requests.signal = true;
    if (start == Start::yes)
        requests.start = Start::yes;
}

void signal_scheduler_at_abort() {
    Assert(IsTransactionState());
    requests.signal_if_aborted = true;
}

void request_database_scan_at_commit() {
    Assert(IsTransactionState());
    requests.database_scan = true;
}

} // namespace ecto_job
