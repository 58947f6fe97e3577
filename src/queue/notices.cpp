// Sending notices. See notices.hpp. Duplicates within a transaction are folded by PostgreSQL.
#include "queue/notices.hpp"

namespace ecto_job {

void send_notice(Oid table_oid, const char *table, Notice notice, const char *payload) {
    static Oid warned_of = InvalidOid;
    if (payload == nullptr)
        return;
    if (const std::optional<Channel> to = channel(table, notice)) {
        Async_Notify(to->name, payload);
    } else if (warned_of != table_oid) {
        warned_of = table_oid;
        ereport(WARNING, (errmsg("queue \"%s\" sends no notifications", table),
                          errdetail("Its name is longer than %zu bytes.", max_table_name_bytes),
                          errhint("Rename the table; consumers find its jobs by polling.")));
    }
}

} // namespace ecto_job
