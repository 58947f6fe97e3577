// Reading of the registry. See registry_snapshot.hpp.
#include "scheduler/registry_snapshot.hpp"

#include "core/version.hpp"
#include "pg/names.hpp"

namespace ecto_job {

bool lock_extension(Oid extension) {
    return ConditionalLockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock) &&
           get_extension_oid("ecto_job", true) == extension;
}

namespace {

void log_newer(const char *version) {
    static bool logged = false;
    if (!logged)
        ereport(LOG, (errmsg("the queues of database \"%s\" are not swept: extension ecto_job is "
                             "version %s there, the library is %s",
                             database_name(), version, ECTO_JOB_VERSION),
                      errhint("Restart the server with the newer library.")));
    logged = true;
}

void log_copy() {
    ereport(LOG, (errmsg("the queues of database \"%s\" are not swept: it is a copy, or restored",
                         database_name()),
                  errhint("SELECT ecto_job.enable() in this database lets them run.")));
}

} // namespace

RegistrySnapshot read_registry(Oid known_extension, WatchedQueues *queues) {
    RegistrySnapshot snapshot;
    // Locks pg_extension before the extension, in the order of a session that drops the extension;
    // in the other order the two would wait for each other
    LockRelationOid(ExtensionRelationId, AccessShareLock);
    snapshot.extension = get_extension_oid("ecto_job", true);
    const bool was_replaced = OidIsValid(known_extension) && snapshot.extension != known_extension;
    if (was_replaced || !OidIsValid(snapshot.extension))
        queues->update({});
    if (!OidIsValid(snapshot.extension))
        return snapshot;
    snapshot.status = RegistryStatus::changing;
    if (!lock_extension(snapshot.extension))
        return snapshot;
    const char *const version = extension_version(snapshot.extension);
    // get_extension_oid() ignores the snapshot, which may be older than the extension
    if (version == nullptr)
        return snapshot;
    if (compare_versions(version, ECTO_JOB_VERSION) > 0) {
        snapshot.status = RegistryStatus::newer;
        log_newer(version);
        return snapshot;
    }
    const DatabaseRecord record = read_database_record();
    queues->update(read_registered_queues());
    snapshot.status = record == DatabaseRecord::disabled ? RegistryStatus::absent_or_disabled
                      : queues->is_empty()               ? RegistryStatus::no_queues
                      : record == DatabaseRecord::none   ? RegistryStatus::copy
                                                         : RegistryStatus::ready;
    if (snapshot.status == RegistryStatus::copy)
        log_copy();
    return snapshot;
}

} // namespace ecto_job
