// Reading the registry. See registry_snapshot.hpp.
#include "scheduler/registry_snapshot.hpp"

#include "core/version.hpp"
#include "pg/names.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

bool lock_extension(Oid extension) {
    return ConditionalLockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock) &&
           get_extension_oid("ecto_job", true) == extension;
}

RegistrySnapshot read_registry(Oid known_extension, WatchedQueues *queues) {
    RegistrySnapshot snapshot;
    snapshot.extension = get_extension_oid("ecto_job", true);
    strlcpy(snapshot.database, database_name(), sizeof snapshot.database);
    const bool made_anew = OidIsValid(known_extension) && snapshot.extension != known_extension;
    if (made_anew || !OidIsValid(snapshot.extension)) {
        forget_queues();
        queues->update({});
    }
    if (!OidIsValid(snapshot.extension))
        return snapshot;
    snapshot.status = RegistryStatus::changing;
    if (!lock_extension(snapshot.extension))
        return snapshot;
    const char *const version = extension_version(snapshot.extension);
    // Made anew since this transaction's snapshot, which get_extension_oid() does not go by
    if (version == nullptr)
        return snapshot;
    strlcpy(snapshot.version, version, sizeof snapshot.version);
    snapshot.status = RegistryStatus::newer;
    if (compare_versions(version, ECTO_JOB_VERSION) > 0)
        return snapshot;
    const DatabaseRecord record = read_database_record();
    queues->update(read_registered_queues());
    snapshot.status = record == DatabaseRecord::disabled ? RegistryStatus::nothing
                      : queues->is_empty()               ? RegistryStatus::no_queues
                      : record == DatabaseRecord::none   ? RegistryStatus::not_enabled
                                                         : RegistryStatus::queues;
    return snapshot;
}

} // namespace ecto_job
