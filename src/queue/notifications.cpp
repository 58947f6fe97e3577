// Sending and keeping notifications. See notifications.hpp. Duplicates within a transaction are
// folded by PostgreSQL.
#include "queue/notifications.hpp"

#include "pg/names.hpp"
#include "shared/mailbox.hpp"

namespace ecto_job {

namespace {

constexpr Size most_kept_bytes = Size{1024} * 1024;
// NOTIFY's own limit. The column has a lower one, but the table's owner may have altered its type
constexpr Size payload_limit = BLCKSZ - NAMEDATALEN - 128;

MemoryContext kept_context = nullptr; // null: notifications are sent at once
KeptNotification *kept = nullptr;     // the latest first
// The latest of a committed transaction; those before it in `kept` are not committed yet
KeptNotification *committed_kept = nullptr;
bool lost = false; // since the last time that all were sent

void keep(Oid queue, Notification notification, const char *payload) {
    const Size length = strlen(payload);
    if (kept != nullptr && kept->queue == queue && kept->notification == notification &&
        strcmp(kept->payload, payload) == 0)
        return;
    if (MemoryContextMemAllocated(kept_context, false) > most_kept_bytes) {
        if (!lost)
            ereport(WARNING, (errmsg("notifications of retries and failures are lost"),
                              errdetail("More of them wait to be sent than are kept."),
                              errhint("The status in the view ecto_job.queues says why "
                                      "notifications cannot be sent. The jobs are not "
                                      "concerned.")));
        lost = true;
        return;
    }
    auto *const added = static_cast<KeptNotification *>(
        MemoryContextAlloc(kept_context, offsetof(KeptNotification, payload) + length + 1));
    added->queue = queue;
    added->notification = notification;
    added->next = kept;
    memcpy(added->payload, payload, length + 1);
    kept = added;
}

// Returns whether the notification is too long. It is dropped, with one WARNING, and the job's
// transition goes on.
bool is_too_long(Oid table_oid, const char *table, const char *payload) {
    static Oid warned_of = InvalidOid;
    if (strlen(payload) < payload_limit)
        return false;
    if (warned_of != table_oid)
        ereport(WARNING, (errmsg("notify of a job of queue \"%s\" is too long to be sent", table),
                          errdetail("A notification has less than %zu bytes.", payload_limit),
                          errhint("Shorten it in the table.")));
    warned_of = table_oid;
    return true;
}

} // namespace

void send_notification_now(Oid table_oid, const char *table, Notification notification,
                           const char *payload) {
    static Oid warned_of = InvalidOid;
    if (const std::optional<Channel> to = channel(table, notification)) {
        Async_Notify(to->name, payload);
    } else if (warned_of != table_oid) {
        warned_of = table_oid;
        ereport(WARNING, (errmsg("queue \"%s\" sends no notifications", table),
                          errdetail("Its name is longer than %zu bytes.", max_table_name_bytes),
                          errhint("Rename the table; consumers find its jobs by polling.")));
    }
}

void send_notification(Oid table_oid, const char *table, Notification notification,
                       const char *payload) {
    if (payload == nullptr || is_too_long(table_oid, table, payload))
        return;
    if (kept_context != nullptr)
        keep(table_oid, notification, payload);
    else
        send_notification_now(table_oid, table, notification, payload);
}

void notify_available(Oid queue) {
    if (const char *const table = table_name_or_null(queue))
        send_notification(queue, table, Notification::available, "");
}

bool notify_unless_served(Oid queue) {
    if (is_served(queue))
        return false;
    notify_available(queue);
    return true;
}

void keep_notifications() {
    kept_context =
        AllocSetContextCreate(TopMemoryContext, "ecto_job notifications", ALLOCSET_DEFAULT_SIZES);
}

void settle_notifications(bool committed) {
    while (!committed && kept != committed_kept) {
        KeptNotification *const undone = kept;
        kept = kept->next;
        pfree(undone);
    }
    committed_kept = kept;
}

const KeptNotification *kept_notifications() {
    return committed_kept;
}

void forget_kept_notifications() {
    if (kept == nullptr && !lost)
        return;
    MemoryContextReset(kept_context);
    kept = committed_kept = nullptr;
    lost = false;
}

} // namespace ecto_job
